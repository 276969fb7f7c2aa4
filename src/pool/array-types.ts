/** An item of an array's text: in quotes, with backslashes before what is special, or bare. */
const ITEM = /"((?:[^"\\]|\\.)*)"|([^,{}"]+)/gs

/**
 * ARRAY_TYPES are the arrays that our statements take and return, of one dimension and without nulls
 * (OIDs: PostgreSQL, src/include/catalog/pg_type.dat; form: manual, "Arrays").
 *
 * Without them the driver asks each new connection for all array types, and nobody hears when that
 * fails: an unhandled rejection ends the process (postgres.js 3.4, fetchArrayTypes in src/connection.js).
 */
export const ARRAY_TYPES = {
  textArray: arrayType(1009),
  uuidArray: arrayType(2951),
}

function arrayType(oid: number) {
  return {
    to: oid,
    from: [oid],
    serialize: (items: readonly string[]) => `{${items.map(quote).join(',')}}`,
    parse: (text: string) =>
      [...text.matchAll(ITEM)].map(([, quoted, bare = '']) => quoted?.replace(/\\(.)/gs, '$1') ?? bare),
  }
}

function quote(item: string): string {
  return `"${item.replace(/["\\]/g, '\\$&')}"`
}
