import type { Attack, TableFacts } from './attack.ts'
import { NO_RIGHT, refused } from './expectation.ts'

/** ownersWork tries what only a table's owner does. Locks are everybody's who may write: they show nothing, and time bounds them. */
export function ownersWork(table: TableFacts): readonly Attack[] {
  const { name: object } = table
  const work: readonly (readonly [name: string, text: string])[] = [
    ['truncate', `truncate ${object}`],
    ['truncate with all that refers to it', `truncate ${object} cascade`],
    [
      'create trigger',
      `create trigger stolen before insert on ${object} for each row execute function suppress_redundant_updates_trigger()`,
    ],
    ['create rule', `create rule stolen as on insert to ${object} do nothing`],
    ['create policy', `create policy stolen on ${object} using (true)`],
    ['disable row level security', `alter table ${object} disable row level security`],
    ['no force row level security', `alter table ${object} no force row level security`],
    ['alter owner', `alter table ${object} owner to current_user`],
    ['add column', `alter table ${object} add column stolen text`],
    ['drop column', `alter table ${object} drop column tenant_id`],
    ['rename', `alter table ${object} rename to stolen`],
    ['create index', `create index on ${object} (tenant_id)`],
    ['create statistics', `create statistics stolen on (tenant_id::text) from ${object}`],
    ['comment', `comment on table ${object} is 'stolen'`],
    ['drop', `drop table ${object}`],
  ]
  return [
    ...work.map(([name, text]) => ({ object, name, text, expect: refused() })),
    {
      object,
      name: 'copy from',
      text: `copy ${object} (tenant_id) from stdin`,
      // "COPY FROM not supported with row-level security"
      expect: refused('0A000'),
    },
    ...['truncate', 'references', 'trigger'].map(
      (right): Attack => ({
        object,
        name: `has the right ${right}`,
        text: `select has_table_privilege('${object}', '${right}')::integer as n`,
        expect: { kind: 'number', n: 0 },
      }),
    ),
    ...['access share', 'share', 'access exclusive'].map(
      (mode): Attack => ({
        object,
        name: `lock in ${mode} mode`,
        text: `lock table ${object} in ${mode} mode`,
        expect: { kind: 'harmless', codes: [NO_RIGHT] },
      }),
    ),
  ]
}
