/**
 * OID names the types that Lessor writes or reads in a form of its own; all others are text to it
 * (PostgreSQL, src/include/catalog/pg_type.dat; these numbers never change).
 */
export const OID = {
  bool: 16,
  bytea: 17,
  name: 19,
  int8: 20,
  int2: 21,
  int4: 23,
  text: 25,
  oid: 26,
  json: 114,
  float4: 700,
  float8: 701,
  bpchar: 1042,
  varchar: 1043,
  date: 1082,
  timestamp: 1114,
  timestamptz: 1184,
  jsonb: 3802,
} as const

/** The only array whose items have a semicolon between them (pg_type.typdelim), since a box has commas. */
const BOX_ARRAY = 1020

/** ArrayKind says what the items of an array type are and what stands between them in its text. */
export interface ArrayKind {
  /** OID of the items' type. */
  readonly item: number
  readonly delimiter: ',' | ';'
}

/**
 * ARRAYS gives each array type of PostgreSQL its items' type, for all base, range and multirange types. Not
 * among them: record[] and cstring[], whose items cannot be told or sent, and the arrays of enums, domains and
 * composite types, whose OIDs differ from database to database.
 */
export const ARRAYS: ReadonlyMap<number, ArrayKind> = new Map(
  Object.entries({
    // Numbers and Booleans.
    1000: OID.bool,
    1005: OID.int2,
    1007: OID.int4,
    1016: OID.int8,
    1021: OID.float4,
    1022: OID.float8,
    1231: 1700,
    791: 790,
    // Text and bytes.
    1001: OID.bytea,
    1002: 18,
    1003: OID.name,
    1009: OID.text,
    1014: OID.bpchar,
    1015: OID.varchar,
    1561: 1560,
    1563: 1562,
    2951: 2950,
    // JSON and XML.
    143: 142,
    199: OID.json,
    3807: OID.jsonb,
    4073: 4072,
    // Dates and times.
    1115: OID.timestamp,
    1182: OID.date,
    1183: 1083,
    1185: OID.timestamptz,
    1187: 1186,
    1270: 1266,
    // Geometry.
    629: 628,
    719: 718,
    1017: 600,
    1018: 601,
    1019: 602,
    [BOX_ARRAY]: 603,
    1027: 604,
    // Networks.
    651: 650,
    775: 774,
    1040: 829,
    1041: 869,
    // Full text search.
    3643: 3614,
    3644: 3642,
    3645: 3615,
    // Ranges and multiranges.
    3905: 3904,
    3907: 3906,
    3909: 3908,
    3911: 3910,
    3913: 3912,
    3927: 3926,
    6150: 4451,
    6151: 4532,
    6152: 4533,
    6153: 4534,
    6155: 4535,
    6157: 4536,
    // PostgreSQL's own: objects, transactions, places in the log.
    271: 5069,
    1006: 22,
    1008: 24,
    1010: 27,
    1011: 28,
    1012: 29,
    1013: 30,
    1028: OID.oid,
    1034: 1033,
    2201: 1790,
    2207: 2202,
    2208: 2203,
    2209: 2204,
    2210: 2205,
    2211: 2206,
    2949: 2970,
    3221: 3220,
    3735: 3734,
    3770: 3769,
    4090: 4089,
    4097: 4096,
    4192: 4191,
    5039: 5038,
  }).map(([array, item]) => [Number(array), { item, delimiter: Number(array) === BOX_ARRAY ? ';' : ',' }]),
)

/** isJson says whether values of a type are sent and read as JSON. */
export function isJson(type: number): boolean {
  return type === OID.json || type === OID.jsonb
}
