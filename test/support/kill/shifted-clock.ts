/** Loaded before anything else in a process, and in each of its threads: sets its clock ahead, or back. */
const aheadMs = Number(process.env['STORAGE_SYNC_TEST_CLOCK_AHEAD_MS']);
const { now } = Date;

Date.now = () => now() + aheadMs;
globalThis.Date = new Proxy(Date, {
  construct: (target, args: [], newTarget) =>
    Reflect.construct(target, args.length === 0 ? [Date.now()] : args, newTarget) as Date,
});

export {};
