/** Where a sync can be killed, in the order in which it comes there. */
export const BEGINNING = [
  'manifest:opened',
  'begin:written',
  'begin:renamed',
  'generation:directory-made',
  'environment:before-open',
  'environment:opened',
  'schema:before-read',
  'prepare:received',
  'prepare:before-commit',
  'prepare:after-commit',
  'prepare:done',
] as const;
export const READING = [
  'page:before-read',
  'page:after-read',
  'page:encoded',
  'write:received',
  'write:before-put',
  'write:after-put',
  'write:before-commit',
  'write:after-commit',
  'write:done',
] as const;
/** By a load, instead of reading in order. */
export const LOADING = [
  'outline:done',
  'spool:done',
  'beginLoad:received',
  'beginLoad:done',
  'pack:done',
  'endLoad:received',
  'endLoad:before-commit',
  'endLoad:after-commit',
  'endLoad:done',
] as const;
export const SWEEPING = [
  'sweep:received',
  'sweep:before-commit',
  'sweep:after-commit',
  'sweep:done',
] as const;
/** By a change log, instead of reading and sweeping. */
export const FOLLOWING = [
  'apply:received',
  'apply:before-put',
  'apply:after-put',
  'apply:before-commit',
  'apply:after-commit',
  'apply:done',
] as const;
/** By cursors: rounds, then the keys of all rows. */
export const BY_CURSOR = [
  'follow:received',
  'follow:before-put',
  'follow:before-commit',
  'follow:after-commit',
  'follow:done',
] as const;
export const SWEEPING_KEYS = [
  'beginSweep:received',
  'beginSweep:before-commit',
  'beginSweep:after-commit',
  'absentKeys:received',
  'absentKeys:done',
  'insertMissed:before-commit',
  'insertMissed:after-commit',
  'previewSweep:done',
] as const;
export const REPAIRING = [
  'repairRows:received',
  'repairRows:before-put',
  'repairRows:after-put',
  'repairRows:before-commit',
  'repairRows:after-commit',
  'repairRows:done',
  'repairEntries:received',
  'repairEntries:before-commit',
  'repairEntries:after-commit',
  'repairCount:received',
  'repairCount:before-commit',
  'repairCount:after-commit',
] as const;
export const ENDING = [
  'complete:received',
  'complete:before-commit',
  'complete:after-commit',
  'complete:done',
  'close:received',
  'close:before-flush',
  'close:flushed',
  'close:done',
  'publish:written',
  'publish:renamed',
  'generation:before-remove',
  'generation:removed',
] as const;
