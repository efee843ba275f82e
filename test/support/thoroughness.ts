/**
 * How many times as many histories and kills there are as a run of the checks has time for:
 * `STORAGE_SYNC_THOROUGHNESS=4 npm test`. Each run takes others, by its seed.
 */
export const THOROUGHNESS = Number(process.env['STORAGE_SYNC_THOROUGHNESS'] ?? 1);
