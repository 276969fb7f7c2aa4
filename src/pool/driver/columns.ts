/** PROTO_COLUMN stands for a column named `__proto__`, which would be the prototype of its row. No name has a NUL. */
export const PROTO_COLUMN = '\0__proto__'

/** columnName is the name that a column has in the driver's rows. */
export function columnName(name: string): string {
  return name === '__proto__' ? PROTO_COLUMN : name
}
