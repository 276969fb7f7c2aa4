/**
 * SILENT_LOGGER is for node-cron, which would write to the console that a run takes longer than the pause or comes late;
 * neither is news here, and what goes wrong is logged by the work itself.
 */
export const SILENT_LOGGER = { info() {}, warn() {}, error() {}, debug() {} }
