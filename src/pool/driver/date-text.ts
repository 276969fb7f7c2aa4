/** dateText writes a moment as PostgreSQL reads it under any DateStyle: by UTC, its year by AD and BC. */
export function dateText(date: Date, dateOnly: boolean): string {
  const year = date.getUTCFullYear()
  // There is no year 0: before 1 AD comes 1 BC, which JavaScript counts as 0.
  const years = String(year > 0 ? year : 1 - year).padStart(4, '0')
  const rest = date.toISOString().replace(/^[+-]?\d+/, '')
  return `${years}${dateOnly ? rest.slice(0, '-00-00'.length) : rest}${year > 0 ? '' : ' BC'}`
}

/** What PostgreSQL writes with DateStyle ISO (manual, "Date/Time Output"); the zone's seconds are of old times. */
const TEXT =
  /^(\d{4,})-(\d\d)-(\d\d)(?: (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(?:([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?)?)?( BC)?$/

/**
 * dateOf reads a date, timestamp or timestamptz, by UTC where it names no zone, and to the millisecond.
 * Returns undefined for what is not in DateStyle ISO, and for what a Date cannot hold.
 */
export function dateOf(text: string): Date | undefined {
  const match = TEXT.exec(text)
  if (match === null) return undefined
  const [, years, month, day, hour = 0, minute = 0, second = 0, fraction = '', sign, ...zone] = match
  const [hours = 0, minutes = 0, seconds = 0, bc] = zone
  const offset = (Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)
  const date = new Date(0)
  // Not Date.UTC, to which the years below 100 are in the twentieth century.
  date.setUTCFullYear(bc === undefined ? Number(years) : 1 - Number(years), Number(month) - 1, Number(day))
  date.setUTCHours(
    Number(hour),
    Number(minute),
    Number(second) - (sign === '-' ? -offset : offset),
    Number(fraction.slice(0, 3).padEnd(3, '0')),
  )
  return Number.isNaN(date.getTime()) ? undefined : date
}
