import { errorCode } from '../pool/driver-errors.ts'
import { type ScriptDb, type Statement, sql } from '../pool/statement.ts'
import { isOutOfLocks } from './batches.ts'

/** Objects of which it is asked at once. */
const BATCH = 100
/** The part of a server's locks that one transaction may take. */
const PART = 0.1
const FEWEST = 20

/** What an object gets that cannot be dropped alone, or not in this order; with the whole schema it can. */
const NOT_ALONE = new Set([
  '0A000', // feature_not_supported
  '2BP01', // dependent_objects_still_exist
  '42501', // insufficient_privilege: it is another role's
  '42704', // undefined_object
  '42809', // wrong_object_type
  '42883', // undefined_function
  '42P01', // undefined_table
  '42P16', // invalid_table_definition
])

interface Droppable {
  /** A catalog's oid. */
  readonly catalog: string
  readonly id: string
  readonly script: string
}

/**
 * dropContents drops what lies in a schema, so many objects in a transaction, so that a tenant that has made very many
 * can be removed: DROP SCHEMA takes a lock for each of them. How many locks a drop takes is known before: where
 * that is too many, what depends on the object goes before it. What it cannot drop alone it leaves to DROP SCHEMA.
 * `owner` owns the objects.
 * @throws SQLSTATE 53200 when what can only be dropped together needs more locks than the server has room for
 */
export async function dropContents(db: ScriptDb, schema: string, owner: string): Promise<void> {
  const [room] = await db.query<{ locks: number }>(sql`
    select (current_setting('max_locks_per_transaction')::bigint
      * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint))::float8 as locks`)
  const budget = Math.max(FEWEST, Math.floor((room?.locks ?? 0) * PART))
  const removal = new Removal(db, owner, budget)
  for (;;) {
    const found = await droppable(db, inSchema(schema), removal.left)
    if (found.length === 0) return
    await removal.remove(found)
  }
}

/** Removal is the state of one dropContents. */
class Removal {
  /** What cannot be dropped alone. */
  readonly left: string[] = []
  readonly #db: ScriptDb
  readonly #owner: string
  readonly #budget: number

  constructor(db: ScriptDb, owner: string, budget: number) {
    this.#db = db
    this.#owner = owner
    this.#budget = budget
  }

  /** remove drops all of a group, and before it what depends on it, few at a time. */
  async remove(group: readonly Droppable[]): Promise<void> {
    const groups = [group]
    /** Single objects that wait in `groups` for what depends on them. */
    const waiting = new Set<string>()
    for (let next = groups.pop(); next !== undefined; next = groups.pop()) {
      const [first] = next
      if (first === undefined) continue
      const isHeavy = await this.#isHeavy(next)
      if (!isHeavy && (await this.#drop(next))) continue
      if (next.length > 1) {
        const half = Math.ceil(next.length / 2)
        groups.push(next.slice(half), next.slice(0, half))
        continue
      }
      waiting.add(first.id)
      const before = isHeavy ? await droppable(this.#db, dependingOn(first), [...this.left, ...waiting]) : []
      // What depends on each other goes together, or not at all.
      if (before.length > 0) groups.push(next, before)
      else if (!(await this.#drop(next))) this.left.push(first.id)
    }
  }

  /** False when something of the group cannot be dropped so. @throws SQLSTATE 53200 for a single object */
  async #drop(group: readonly Droppable[]): Promise<boolean> {
    try {
      await asOwner(this.#db, this.#owner, group.map(({ script }) => script).join(';\n'))
      return true
    } catch (error) {
      const isTooMuch = isOutOfLocks(error) && group.length > 1
      if (!isTooMuch && !NOT_ALONE.has(errorCode(error) ?? '')) throw error
      return false
    }
  }

  async #isHeavy(group: readonly Droppable[]): Promise<boolean> {
    const [row] = await this.#db.query<{ locks: number }>(sql`
      with recursive ${closure(group)}
      select count(*)::integer as locks from (select from gone limit ${this.#budget + 1}::integer) counted`)
    return (row?.locks ?? 0) > this.#budget
  }
}

/** Triggers, rules and constraints are their table's owner's to drop; the membership ends with the transaction. */
async function asOwner(db: ScriptDb, owner: string, script: string): Promise<void> {
  const [row] = await db.query<{ before: string; after: string }>(sql`
    select format('grant %I to current_user;', rolname) as before, format(';revoke %I from current_user', rolname) as after
    from pg_roles where rolname = ${owner} and not pg_has_role(rolname, 'usage')`)
  await db.script(`${row?.before ?? ''}${script}${row?.after ?? ''}`)
}

/** All that is dropped with a group, each of which takes a lock: what depends on it, and of what is a part the whole. */
function closure(group: readonly Pick<Droppable, 'catalog' | 'id'>[]): Statement {
  return sql`
    gone(classid, objid) as (
      select * from unnest(${group.map(({ catalog }) => catalog)}::oid[], ${group.map(({ id }) => id)}::oid[])
      union
      select e.classid, e.objid
      from gone g cross join lateral (
        select d.classid, d.objid from pg_depend d where d.refclassid = g.classid and d.refobjid = g.objid
        union all
        select d.refclassid, d.refobjid from pg_depend d
        where d.classid = g.classid and d.objid = g.objid and d.deptype = 'i'
      ) e
    )`
}

/** The youngest first, since what depends on something is mostly younger. */
function inSchema(schema: string): Statement {
  return sql`
    with found as (
      select distinct d.classid, d.objid, 0::bigint as place from pg_depend d
      where d.refclassid = 'pg_namespace'::regclass and d.refobjid = to_regnamespace(quote_ident(${schema}))
        and d.deptype in ('n', 'a') and d.classid <> 'pg_default_acl'::regclass
    )`
}

/** What was found last is farthest away; most of it has nothing that depends on it. */
function dependingOn(thing: Droppable): Statement {
  return sql`
    with recursive ${closure([thing])}, found as (
      select classid, objid, row_number() over () as place from gone
    )`
}

/** The first objects of `found`, the farthest first, that can be dropped by themselves. */
function droppable(db: ScriptDb, found: Statement, left: readonly string[]): Promise<readonly Droppable[]> {
  return db.query<Droppable>(sql`
    ${found}, picked as (
      select f.*, c.relispartition, k.conname, k.conrelid, k.contypid, a.adrelid, a.adnum
      from found f
      left join pg_class c on f.classid = 'pg_class'::regclass and c.oid = f.objid
      left join pg_constraint k on f.classid = 'pg_constraint'::regclass and k.oid = f.objid
      left join pg_attrdef a on f.classid = 'pg_attrdef'::regclass and a.oid = f.objid
      left join pg_trigger t on f.classid = 'pg_trigger'::regclass and t.oid = f.objid
      left join pg_type y on f.classid = 'pg_type'::regclass and y.oid = f.objid
      left join pg_rewrite r on f.classid = 'pg_rewrite'::regclass and r.oid = f.objid
      where f.classid in ('pg_class'::regclass, 'pg_constraint'::regclass, 'pg_attrdef'::regclass, 'pg_trigger'::regclass,
          'pg_type'::regclass, 'pg_proc'::regclass, 'pg_operator'::regclass, 'pg_opclass'::regclass,
          'pg_opfamily'::regclass, 'pg_collation'::regclass, 'pg_conversion'::regclass, 'pg_cast'::regclass,
          'pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_statistic_ext'::regclass, 'pg_extension'::regclass,
          'pg_ts_parser'::regclass, 'pg_ts_dict'::regclass, 'pg_ts_template'::regclass, 'pg_ts_config'::regclass)
        and coalesce(c.relkind not in ('t', 'I') and not (c.relkind = 'i' and c.relispartition), true)
        and coalesce(k.conparentid = 0 and k.coninhcount = 0, true) and coalesce(not t.tgisinternal, true)
        and coalesce(r.rulename <> '_RETURN', true)
        and f.objid <> all (${left}::oid[])
        -- Parts of something, which go with it.
        and not exists (
          select from pg_depend i where i.classid = f.classid and i.objid = f.objid and i.objsubid = 0
            and i.deptype in ('i', 'e'))
      order by f.place desc, c.relispartition desc nulls last, f.objid desc
      limit ${BATCH}::integer
    ), named as (
      select p.*, o.type, o.identity,
        (select attname from pg_attribute where attrelid = p.adrelid and attnum = p.adnum) as attname
      from picked p cross join pg_identify_object(p.classid, p.objid, 0) o
    ), scripts as (
      select *,
        case
          when type = 'composite type' then format('drop type if exists %s cascade', identity)
          when type = 'statistics object' then format('drop statistics if exists %s', identity)
          when conrelid <> 0 then format('alter table if exists %s drop constraint if exists %I cascade', conrelid::regclass, conname)
          when contypid <> 0 then format('alter domain %s drop constraint if exists %I cascade', contypid::regtype, conname)
          when adrelid <> 0 then format('alter table if exists %s alter column %I drop default', adrelid::regclass, attname)
          when type in ('table', 'view', 'materialized view', 'foreign table', 'sequence', 'index', 'type', 'function',
              'procedure', 'aggregate', 'operator', 'operator class', 'operator family', 'collation', 'conversion',
              'text search parser', 'text search dictionary', 'text search template', 'text search configuration',
              'cast', 'rule', 'trigger', 'policy', 'extension')
            then format('drop %s if exists %s', type, identity) || case type when 'policy' then '' else ' cascade' end
        end as script
      from named
    )
    select classid::text as catalog, objid::text as id, script from scripts where script is not null
    order by place desc, relispartition desc nulls last, objid desc`)
}
