/**
 * atOnce looks twice and resolves with the number of sessions, by process id, that were there both times:
 * these were all alive between the looks. One look may count too many, since `pg_stat_activity` is not
 * read at one instant (pgstat_read_current_status goes through the backends one by one): a session that
 * ends after it was read and one that begins in a later place are both in it.
 */
export async function atOnce(look: () => Promise<readonly number[]>): Promise<number> {
  const before = new Set(await look())
  return (await look()).filter((pid) => before.has(pid)).length
}
