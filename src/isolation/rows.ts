import type { Column } from './catalog-objects.ts'

/** RowSource says whose row is made, and what it carries. */
export interface RowSource {
  /** Undefined leaves tenant_id to the column's default. */
  readonly tenantId: string | undefined
  /** Whose rows in other tables it refers to. */
  readonly parentsOf: string
  /** Text that goes into the row, so that it is known again wherever it shows. */
  readonly marker: string
  /** Tells rows of one tenant apart. */
  readonly number: number
  /** Values for some columns, as SQL, in place of made ones. */
  readonly given?: ReadonlyMap<string, string>
  /** Leaves out what need not be there. */
  readonly isMinimal?: boolean
}

/** insertText makes an INSERT of one row into a quoted table, with values that fit the columns' types. */
export function insertText(table: string, columns: readonly Column[], source: RowSource): string {
  const { names, values } = rowText(columns, source)
  if (names.length === 0) return `insert into ${table} default values`
  return `insert into ${table} (${names.join(', ')}) values (${values.join(', ')})`
}

/** rowText is the columns of such a row and their values. */
export function rowText(
  columns: readonly Column[],
  source: RowSource,
): { readonly names: readonly string[]; readonly values: readonly string[] } {
  const pairs: (readonly [string, string])[] =
    source.tenantId === undefined ? [] : [['tenant_id', `'${source.tenantId}'`]]
  for (const column of columns) {
    const given = source.given?.get(column.name)
    if (given !== undefined) pairs.push([column.name, given])
    else if (isWanted(column, source)) pairs.push([column.name, literalOf(column, source)])
  }
  return { names: pairs.map(([name]) => name), values: pairs.map(([, value]) => value) }
}

function isWanted(column: Column, { isMinimal }: RowSource): boolean {
  return column.isRequired || (isMinimal !== true && column.isText && !column.hasDefault)
}

function literalOf(column: Column, { parentsOf, marker, number }: RowSource): string {
  const { parent, parentColumn, type, category, label } = column
  if (parent !== null && parentColumn !== null) {
    return `(select ${parentColumn} from ${parent} where tenant_id = '${parentsOf}' order by 1 limit 1)`
  }
  if (label !== null) return `'${label.replaceAll("'", "''")}'::${type}`
  if (type === 'uuid') return 'gen_random_uuid()'
  if (/^jsonb?$/.test(type)) return `'{}'::${type}`
  switch (category) {
    case 'S':
      // A cast cuts off what is too long for the type.
      return `'${column.isKey ? `${number} ` : ''}${marker}'::${type}`
    case 'N':
      return `${number}::${type}`
    case 'B':
      return `false`
    case 'D':
      return `now()::${type}`
    case 'T':
      return `'1 day'::${type}`
    case 'A':
      return `'{}'::${type}`
    case 'R':
      return `'empty'::${type}`
    case 'I':
      return `'127.0.0.1'::${type}`
    default:
      return `''::${type}`
  }
}
