import type { Attack, State } from './attack.ts'
import type { CatalogObject } from './catalog-objects.ts'
import { type Expectation, NO_RIGHT, refused } from './expectation.ts'

/** Place says whose an object is, as its schema and owner tell. */
export type Place = 'home' | 'foreign' | 'system'

/** It is no relation of that kind: the server says so before or after it looks at rights. */
const WRONG_KIND = ['42809', '0A000', '55000']

/**
 * objectAttacks tries what can be tried on an object that is no table with the attacker's own rows. In the
 * attacker's own home he may call functions and read views, which then show nothing of others; everything else
 * is refused.
 */
export function objectAttacks(
  object: CatalogObject,
  place: Place,
  state: State,
  secrets: readonly string[],
): readonly Attack[] {
  switch (object.kind) {
    case 'table':
    case 'partition':
    case 'materialized view':
    case 'foreign table':
      return foreignRelation(object)
    case 'view':
      return place === 'home' ? ownView(object, state, secrets) : foreignRelation(object)
    case 'sequence':
      return sequence(object)
    case 'function':
    case 'procedure':
      return [call(object, place)]
    case 'type':
      return attempts(object, [
        ['rename', `alter type ${object.name} rename to stolen`],
        ['drop', `drop type ${object.name}`],
      ])
    case 'schema':
      return attempts(object, [
        ['create table in', `create table ${object.name}.stolen (x integer)`],
        [
          'create function in',
          `create function ${object.name}.stolen() returns integer language sql return 1`,
        ],
        ['grant', `alter schema ${object.name} owner to current_user`],
        ['drop', `drop schema ${object.name} cascade`],
      ])
    case 'large object':
      return attempts(object, [
        ['read', `select lo_get(${object.name})`],
        ['open for writing', `select lo_open(${object.name}, 131072)`],
        ['write', `select lo_put(${object.name}, 0, 'x')`],
        ['drop', `select lo_unlink(${object.name})`],
      ])
    case 'system relation':
      return systemRelation(object, secrets)
  }
}

function foreignRelation({ name, kind }: CatalogObject): readonly Attack[] {
  const codes = kind === 'table' || kind === 'partition' ? [] : WRONG_KIND
  const verbs: readonly (readonly [string, string])[] = [
    ['select', `select 1 from ${name} limit 1`],
    ['count', `select count(*)::integer as n from ${name}`],
    ['select for update', `select 1 from ${name} for update`],
    ['insert', `insert into ${name} default values`],
    ['update', `update ${name} set tenant_id = tenant_id`],
    ['delete', `delete from ${name}`],
    ['merge', `merge into ${name} t using (select 1) s on true when matched then delete`],
    ['truncate', `truncate ${name}`],
    ['copy to', `copy ${name} to stdout`],
    ['copy from', `copy ${name} from stdin`],
    ['lock', `lock table ${name} in access share mode`],
    ['refresh', `refresh materialized view ${name}`],
    [
      'create trigger',
      `create trigger stolen before insert on ${name} for each row execute function suppress_redundant_updates_trigger()`,
    ],
    ['alter owner', `alter table ${name} owner to current_user`],
    ['drop', `drop ${kind === 'partition' ? 'table' : kind} ${name}`],
  ]
  return verbs
    .filter(([verb]) => verb !== 'refresh' || kind === 'materialized view')
    .filter(([verb]) => verb !== 'copy from' || codes.length === 0)
    .map(([verb, text]) => ({
      object: name,
      name: verb,
      text,
      // Without the column the statement is refused before rights are looked at.
      expect: verb === 'update' ? refused('42703', ...codes) : refused(...codes),
    }))
}

function ownView(
  { name, hasTenantId }: CatalogObject,
  state: State,
  secrets: readonly string[],
): readonly Attack[] {
  // One that was not granted is refused, which is as well.
  const codes = [NO_RIGHT, ...state.unnamed]
  const fails: Expectation | undefined = state.me === undefined ? { kind: 'refused', codes } : undefined
  const shows: readonly Attack[] = hasTenantId
    ? [
        {
          object: name,
          name: 'select',
          text: `select tenant_id from ${name}`,
          expect: fails ?? { kind: 'rows', tenantId: state.me ?? '', codes },
        },
      ]
    : []
  return [
    ...shows,
    ...secrets.map(
      (secret): Attack => ({
        object: name,
        name: 'look for another tenant’s text',
        text: lookFor(name, secret),
        expect: fails ?? { kind: 'number', n: 0, codes },
      }),
    ),
    ...attempts({ name }, [
      ['alter owner', `alter view ${name} owner to current_user`],
      ['drop security_invoker', `alter view ${name} set (security_invoker = false)`],
      ['drop', `drop view ${name}`],
    ]),
  ]
}

/** The numbers of a sequence tell how much others do. */
function sequence({ name }: CatalogObject): readonly Attack[] {
  return attempts({ name }, [
    ['nextval', `select nextval('${name}')`],
    ['currval', `select currval('${name}')`],
    ['setval', `select setval('${name}', 1)`],
    ['select', `select last_value from ${name}`],
    ['alter', `alter sequence ${name} restart`],
    ['drop', `drop sequence ${name}`],
  ])
}

function call({ name, kind, call }: CatalogObject, place: Place): Attack {
  return {
    object: name,
    name: kind === 'procedure' ? 'call' : 'execute',
    text: kind === 'procedure' ? `call ${call}` : `select ${call}`,
    expect: place === 'home' ? { kind: 'harmless' } : refused(),
  }
}

function systemRelation({ name }: CatalogObject, secrets: readonly string[]): readonly Attack[] {
  return secrets.map((secret) => ({
    object: name,
    name: 'look for another tenant’s text',
    text: lookFor(name, secret),
    // Some views can only be read on a standby, or with an extension, or by a superuser.
    expect: { kind: 'number', n: 0, codes: [NO_RIGHT, ...WRONG_KIND, '58P01', '42883'] },
  }))
}

/** The text is cut in two, so that the statement itself, which pg_stat_activity shows, does not hold it. */
function lookFor(name: string, secret: string): string {
  const [first, second] = [secret.slice(0, 4), secret.slice(4)]
  return `select count(*)::integer as n from (select 1 from ${name} as x where x::text like '%' || '${first}' || '${second}' || '%' limit 1) found`
}

function attempts(
  { name }: Pick<CatalogObject, 'name'>,
  texts: readonly (readonly [name: string, text: string])[],
): readonly Attack[] {
  return texts.map(([verb, text]) => ({ object: name, name: verb, text, expect: refused() }))
}
