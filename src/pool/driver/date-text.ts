const ISO_DATE = 'yyyy-mm-dd'

/** dateText writes a moment as PostgreSQL reads it under any DateStyle: by UTC, its year by AD and BC. */
export function dateText(date: Date, dateOnly: boolean): string {
  const year = date.getUTCFullYear()
  const iso = date.toISOString()
  if (year > 0 && year <= 9999) return dateOnly ? iso.slice(0, ISO_DATE.length) : iso
  // Before the year 1 comes 1 BC, which JavaScript counts as 0. Other years that it writes have a sign.
  const rest = iso.slice(iso.indexOf('-', 1))
  const years = String(year > 0 ? year : 1 - year).padStart(4, '0')
  return `${years}${dateOnly ? rest.slice(0, '-mm-dd'.length) : rest}${year > 0 ? '' : ' BC'}`
}

/** A timestamptz of a session in UTC, as nearly all are; JavaScript reads this form by itself. */
const COMMON = /^[1-9]\d{3}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?\+00$/
/** All that PostgreSQL writes with DateStyle ISO (manual, "Date/Time Output"); zones of old times have seconds. */
const TEXT =
  /^(\d{4,7})-(\d\d)-(\d\d)(?: (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(?:([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?)?)?( BC)?$/

/**
 * dateOf reads a date, timestamp or timestamptz, by UTC where it names no zone, and to the millisecond.
 * Returns undefined for what is not in DateStyle ISO, and for what a Date cannot hold.
 */
export function dateOf(text: string): Date | undefined {
  if (COMMON.test(text)) return new Date(text)
  const match = TEXT.exec(text)
  if (match === null) return undefined
  const [, years, month, day, hour = 0, minute = 0, second = 0, fraction = '', sign, ...rest] = match
  const [hours = 0, minutes = 0, seconds = 0, bc] = rest
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
