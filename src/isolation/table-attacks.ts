import type { Attack, State, TableFacts } from './attack.ts'
import type { Right } from './catalog-objects.ts'
import { type Expectation, refused } from './expectation.ts'
import { ownersWork } from './owner-attacks.ts'
import { insertText, type RowSource, rowText } from './rows.ts'

/** A row that goes while others refer to it; a matter of keys, not of tenants. */
const STILL_REFERRED_TO = '23503'

/** not_null_violation and foreign_key_violation. */
const NO_PARENT = ['23502', '23503']

/**
 * tableAttacks tries every verb on a table with tenants' rows. Rights that were granted decide between own rows
 * and a refusal; what no tenant is ever granted is refused whatever the catalog says.
 */
export function tableAttacks(table: TableFacts, state: State): readonly Attack[] {
  const attacks = [...reads(table, state), ...writes(table, state)]
  return state.isBounded ? attacks : [...attacks, ...merges(table, state), ...ownersWork(table)]
}

function reads(table: TableFacts, state: State): readonly Attack[] {
  const { name: object } = table
  const { victim } = state
  const all = within(state)
  const own = rowsOf(table, state, ['select'])
  const locked = rowsOf(table, state, ['select', 'update'])
  const none = rowsOf(table, state, ['select'], 0)
  const boundary = `case when tenant_id = '${victim}' then 0 else 1 end`
  return [
    { object, name: 'select', text: `select tenant_id from ${object}${all}`, expect: own },
    {
      object,
      name: 'select rows of another tenant',
      text: `select tenant_id from ${object} where tenant_id = '${victim}'`,
      expect: none,
    },
    {
      object,
      name: 'count',
      text: `select count(*)::integer as n from ${object}${all}`,
      expect: own.kind === 'rows' ? { kind: 'number', n: own.count ?? 0 } : own,
    },
    {
      // PostgreSQL must not look at a row before the policy has.
      object,
      name: 'select by an error that another tenant’s row would raise',
      text: `select tenant_id from ${object} where 1 / (${boundary}) = 1${all === '' ? '' : all.replace('where', 'and')}`,
      expect: own,
    },
    {
      object,
      name: 'select for update',
      text: `select tenant_id from ${object}${all} for update`,
      expect: locked,
    },
    {
      object,
      name: 'select for share',
      text: `select tenant_id from ${object}${all} for share`,
      expect: locked,
    },
    {
      object,
      name: 'copy to',
      text: `copy (select tenant_id from ${object}${all}) to stdout`,
      expect: own,
    },
    {
      object,
      name: 'select with row_security off',
      before: ['set local row_security = off'],
      text: `select tenant_id from ${object}${all}`,
      expect: refused(),
    },
    ...(state.isBounded
      ? []
      : ([
          // Of a partitioned table PostgreSQL copies nothing: no row is the parent's own.
          ...(table.isPartitioned
            ? []
            : [{ object, name: 'copy table to', text: `copy ${object} (tenant_id) to stdout`, expect: own }]),
          {
            object,
            name: 'explain',
            text: `explain select * from ${object} where tenant_id = '${victim}'`,
            expect: { kind: 'harmless' },
          },
        ] satisfies Attack[])),
  ]
}

function writes(table: TableFacts, state: State): readonly Attack[] {
  const { name: object, columns } = table
  const { me, named, victim, marker } = state
  const all = within(state)
  const source = (tenantId: string | undefined, more?: Partial<RowSource>): RowSource => ({
    tenantId,
    parentsOf: tenantId ?? me ?? victim,
    marker,
    number: 99,
    ...more,
  })
  const insert = (from: RowSource) => insertText(object, columns, from)
  const mine = me ?? state.canaries[0]
  const victimsKey = table.keys.get(victim)
  const keyIsFree = !columns.some(({ isKey, parent }) => isKey && parent !== null)
  const touched = reach(table, state, ['update', 'select'])
  return [
    {
      object,
      name: 'insert with the default tenant',
      text: `${insert(source(undefined))} returning tenant_id`,
      expect: onNewRow(table, state, named),
    },
    {
      object,
      name: 'insert for itself',
      text: `${insert(source(mine))} returning tenant_id`,
      expect: onNewRow(table, state, mine, true),
    },
    {
      object,
      name: 'insert for another tenant',
      text: insert(source(victim)),
      expect: onNewRow(table, state, victim, true),
    },
    ...(victimsKey === undefined
      ? []
      : ([
          {
            object,
            name: 'insert the very key of another tenant for it, on conflict do nothing',
            text: `${insert(source(victim, { given: victimsKey }))} on conflict do nothing`,
            expect: onNewRow(table, state, victim, true),
          },
        ] satisfies Attack[])),
    ...(victimsKey === undefined || !keyIsFree
      ? []
      : ([
          {
            object,
            name: 'insert the key of another tenant for itself',
            text: `${insert(source(mine, { given: victimsKey }))} returning tenant_id`,
            expect: onNewRow(table, state, mine, true),
          },
        ] satisfies Attack[])),
    {
      // Without a condition and without RETURNING no policy for SELECT stands before the one for UPDATE.
      object,
      name: 'update blindly',
      text: `update ${object} set tenant_id = '${mine}'${all}`,
      expect: all === '' ? reach(table, state, ['update']) : touched,
    },
    {
      object,
      name: 'update, returning',
      text: `update ${object} set tenant_id = '${mine}'${all} returning tenant_id`,
      expect: rowsOf(table, state, ['update', 'select']),
    },
    {
      object,
      name: 'update rows of another tenant',
      text: `update ${object} set tenant_id = '${mine}' where tenant_id = '${victim}'`,
      expect: touched.kind === 'reaches' ? { kind: 'reaches', count: 0 } : touched,
    },
    {
      object,
      name: 'give own rows to another tenant',
      text: `update ${object} set tenant_id = '${victim}'${all}`,
      expect: touched.kind === 'reaches' && touched.count > 0 ? refused() : touched,
    },
    {
      object,
      name: 'delete blindly',
      text: `delete from ${object}${all}`,
      expect: gone(table, reach(table, state, all === '' ? ['delete'] : ['delete', 'select'])),
    },
    {
      object,
      name: 'delete rows of another tenant',
      text: `delete from ${object} where tenant_id = '${victim}'`,
      expect: reach(table, state, ['delete', 'select'], 0),
    },
  ]
}

function merges(table: TableFacts, state: State): readonly Attack[] {
  const { name: object, columns } = table
  const { victim, marker } = state
  const mine = state.me ?? state.canaries[0]
  const from = `merge into ${object} t using (select '${victim}'::uuid as id) s on t.tenant_id = s.id`
  const row = rowText(columns, { tenantId: victim, parentsOf: victim, marker, number: 98 })
  return [
    {
      object,
      name: 'merge, deleting rows of another tenant',
      text: `${from} when matched then delete`,
      expect: reach(table, state, ['delete', 'select'], 0),
    },
    {
      object,
      name: 'merge, updating rows of another tenant',
      text: `${from} when matched then update set tenant_id = '${mine}'`,
      expect: reach(table, state, ['update', 'select'], 0),
    },
    {
      object,
      name: 'merge, inserting for another tenant',
      text: `${from} when not matched then insert (${row.names.join(', ')}) values (${row.values.join(', ')})`,
      expect: onNewRow(table, state, victim, true),
    },
  ]
}

/** On a server with real tenants nothing reaches beyond the two canaries, should a wall be broken. */
function within({ isBounded, canaries }: State): string {
  return isBounded ? ` where tenant_id in ('${canaries.join("', '")}')` : ''
}

function rowsOf(table: TableFacts, state: State, rights: readonly Right[], count?: number): Expectation {
  const barred = bar(table, state, rights)
  if (barred !== undefined) return barred
  const tenantId = state.me ?? ''
  return { kind: 'rows', tenantId, count: count ?? table.counts.get(tenantId) ?? 0 }
}

function reach(table: TableFacts, state: State, rights: readonly Right[], count?: number): Expectation {
  const barred = bar(table, state, rights)
  if (barred !== undefined) return barred
  return { kind: 'reaches', count: count ?? table.counts.get(state.me ?? '') ?? 0 }
}

function gone(table: TableFacts, expectation: Expectation): Expectation {
  if (expectation.kind !== 'reaches' || !table.isReferenced) return expectation
  return { ...expectation, codes: [STILL_REFERRED_TO] }
}

/** A new row of `tenantId`; without `isExplicit` it comes from the column's default. */
function onNewRow(
  table: TableFacts,
  state: State,
  tenantId: string | undefined,
  isExplicit = false,
): Expectation {
  if (!table.rights.has('insert')) return refused()
  if (!isExplicit && tenantId === undefined) return { kind: 'refused', codes: state.unnamed }
  const barred = bar(table, state, ['insert'])
  if (barred !== undefined) return barred
  if (tenantId !== state.me) return refused()
  if (!table.rights.has('select')) return refused()
  const rows = { kind: 'rows', tenantId: tenantId ?? '', count: 1 } as const
  // Whoever has no rows has none to refer to.
  const hasParents =
    table.counts.get(rows.tenantId) !== undefined || table.columns.every((each) => each.parent === null)
  return hasParents ? rows : { ...rows, codes: NO_PARENT }
}

function bar(table: TableFacts, state: State, rights: readonly Right[]): Expectation | undefined {
  const unnamed = state.me === undefined ? state.unnamed : []
  // Whichever the server looks at first.
  if (!rights.every((right) => table.rights.has(right))) return refused(...unnamed)
  return state.me === undefined ? { kind: 'refused', codes: unnamed } : undefined
}
