import { hexOf } from '../placement/tenant-names.ts'
import type { TableFacts } from './attack.ts'
import { type CatalogObject, type Column, readColumns, readRights } from './catalog-objects.ts'
import { insertText } from './rows.ts'
import { openSession, outcomeOf, type Session, statementOf } from './session.ts'
import type { Stage, StageLimits, StageTenant } from './stage.ts'

/** Seeded is the tables with rows of both tenants, and what had to be left out. */
export interface Seeded {
  readonly tables: readonly TableFacts[]
  /** Tables that a tenant may write, but of which no row could be made. */
  readonly unseeded: readonly string[]
  readonly gaps: readonly string[]
}

/** Different numbers, so that a count tells whose rows were counted. */
const ROWS_OF_OWN = 2
const ROWS_OF_OTHER = 3
/** A table may refer to one that is further down in the list. */
const PASSES = 4

/**
 * seed makes rows of both tenants in each of the attacker's tables, through their own logins and with values that
 * fit the columns' types. Rows that are there stay and count.
 */
export async function seed(
  stage: Stage,
  objects: readonly CatalogObject[],
  limits: StageLimits,
): Promise<Seeded> {
  const own = await openSession(limits.connect, stage.own.target, limits.connectTimeoutMs)
  const other = await openSession(limits.connect, stage.other.target, limits.connectTimeoutMs)
  try {
    const parties: readonly Party[] = [
      { tenant: stage.own, session: own, wanted: ROWS_OF_OWN },
      { tenant: stage.other, session: other, wanted: ROWS_OF_OTHER },
    ]
    const drafts = await readDrafts(stage, objects, own)
    for (let pass = 0; pass < PASSES; pass++) {
      for (const draft of drafts) for (const party of parties) await fill(stage, draft, party)
    }
    const tables: TableFacts[] = []
    for (const draft of drafts) tables.push(await factsOf(stage, draft, parties))
    return { tables, ...missing(stage, tables) }
  } finally {
    await Promise.all([own.close(), other.close()])
  }
}

interface Party {
  readonly tenant: StageTenant
  readonly session: Session
  readonly wanted: number
}

type Draft = Pick<TableFacts, 'name' | 'columns' | 'isReferenced' | 'isPartitioned' | 'rights'>

async function readDrafts(
  stage: Stage,
  objects: readonly CatalogObject[],
  session: Session,
): Promise<readonly Draft[]> {
  const drafts: Draft[] = []
  await stage.inTables(async (admin) => {
    for (const { name, isReferenced, isPartitioned } of objects) {
      const columns = await readColumns(admin, name)
      drafts.push({ name, isReferenced, isPartitioned, columns, rights: await readRights(session.db, name) })
    }
  })
  return drafts
}

/** fill brings one tenant's rows to the wanted number, one insert each; a table of another's is left to its owner. */
async function fill(stage: Stage, draft: Draft, { tenant, session, wanted }: Party): Promise<void> {
  const name = tableOf(stage, draft.name, tenant)
  for (let number = await count(session, name, tenant); number < wanted; number++) {
    const source = { tenantId: tenant.id, parentsOf: tenant.id, marker: tenant.marker, number: number + 1 }
    const columns = ofTenant(stage, draft.columns, tenant)
    const texts = [source, { ...source, isMinimal: true }].map((each) => insertText(name, columns, each))
    if (!(await firstThatWorks(stage, session, draft, tenant, texts))) return
  }
}

async function firstThatWorks(
  stage: Stage,
  session: Session,
  draft: Draft,
  tenant: StageTenant,
  texts: readonly string[],
): Promise<boolean> {
  for (const text of texts) {
    if (draft.rights.has('insert')) {
      if (await committed(session, tenant.id, text)) return true
    } else if (tenant === stage.own || !stage.hasOwnTables) {
      // Rows that only an administrator writes; one whom row level security binds cannot.
      const wrote = await stage.inTables((admin) => outcomeOf(() => admin.query(statementOf(text))))
      if (wrote.kind === 'done') return true
    }
  }
  return false
}

async function committed({ db }: Session, tenantId: string, text: string): Promise<boolean> {
  await db.command('begin')
  await db.query(statementOf(`set local rls.tenant_id = '${tenantId}'`))
  const outcome = await outcomeOf(() => db.query(statementOf(text)))
  await db.command(outcome.kind === 'done' ? 'commit' : 'rollback')
  return outcome.kind === 'done'
}

async function factsOf(stage: Stage, draft: Draft, parties: readonly Party[]): Promise<TableFacts> {
  const counts = new Map<string, number>()
  const keys = new Map<string, ReadonlyMap<string, string>>()
  for (const { tenant, session } of parties) {
    const name = tableOf(stage, draft.name, tenant)
    // In tables of its own the other tenant has its rows elsewhere, and none here.
    const isElsewhere = stage.hasOwnTables && tenant === stage.other
    counts.set(tenant.id, isElsewhere ? 0 : await count(session, name, tenant))
    const key = await keyOf(session, name, draft.columns, tenant)
    if (key !== undefined) keys.set(tenant.id, key)
  }
  return { ...draft, counts, keys }
}

async function count(session: Session, table: string, tenant: StageTenant): Promise<number> {
  const text = `select count(*)::integer as n from ${table} where tenant_id = '${tenant.id}'`
  const outcome = await session.attempt([`set local rls.tenant_id = '${tenant.id}'`], text)
  return outcome.kind === 'done' ? Number(outcome.rows[0]?.n) : 0
}

/** keyOf is the last of a tenant's keys: the other one has fewer rows, and none with that number where all count from one. */
async function keyOf(
  session: Session,
  table: string,
  columns: readonly Column[],
  tenant: StageTenant,
): Promise<ReadonlyMap<string, string> | undefined> {
  const keys = columns.filter(({ isKey }) => isKey)
  if (keys.length === 0) return undefined
  const literals = keys.map(({ name, type }, i) => `quote_nullable(${name}::text) || '::${type}' as k${i}`)
  const order = keys.map(({ name }) => `${name} desc`).join(', ')
  const text = `select ${literals.join(', ')} from ${table} where tenant_id = '${tenant.id}' order by ${order} limit 1`
  const outcome = await session.attempt([`set local rls.tenant_id = '${tenant.id}'`], text)
  const row = outcome.kind === 'done' ? outcome.rows[0] : undefined
  return row && new Map(keys.map(({ name }, i) => [name, String(row[`k${i}`])]))
}

/** tableOf is the tenant's table of that name: its own where each has tables of its own. */
function tableOf({ hasOwnTables, own, other }: Stage, name: string, tenant: StageTenant): string {
  return hasOwnTables && tenant === other ? name.replaceAll(hexOf(own.id), hexOf(other.id)) : name
}

function ofTenant(stage: Stage, columns: readonly Column[], tenant: StageTenant): readonly Column[] {
  return columns.map((column) =>
    column.parent === null ? column : { ...column, parent: tableOf(stage, column.parent, tenant) },
  )
}

function missing(
  { hasOwnTables, own, other }: Stage,
  tables: readonly TableFacts[],
): Pick<Seeded, 'unseeded' | 'gaps'> {
  const needed = hasOwnTables ? [own] : [own, other]
  const empty = tables.filter(({ counts }) => needed.some(({ id }) => (counts.get(id) ?? 0) === 0))
  return {
    unseeded: empty.filter(({ rights }) => rights.has('insert')).map(({ name }) => name),
    gaps: empty
      .filter(({ rights }) => !rights.has('insert'))
      .map(({ name }) => `${name} has no rows to protect: tenants may not write it, nor this administrator`),
  }
}
