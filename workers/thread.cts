/**
 * What every thread of a pool begins with: loads the thread's own entry, an ES module, once.
 *
 * piscina loads a handler by `require` and then by `import`, anew for each task that comes before it is there. Two loads
 * of one ES module at a time can end the process (`Module::IsGraphAsync must be used on an instantiated module`), so
 * what piscina loads is this CommonJS file.
 */
type Handler = (message: unknown) => Promise<unknown>;
type Entry = { readonly default: Handler };

const { readlinkSync } = require('node:fs') as typeof import('node:fs');
const { getPriority, setPriority } = require('node:os') as typeof import('node:os');
const { workerData } = require('node:worker_threads') as typeof import('node:worker_threads');
const { entry, loadAfterMs, niceness } = workerData as {
  readonly entry: string;
  readonly loadAfterMs: number;
  readonly niceness: number;
};
/** Long enough for tasks to be told, and for threads not to come and go without end. */
const LAST_WORDS_MS = 1000;

let loaded: Promise<Entry> | undefined;

function load(): Promise<Entry> {
  if (loaded !== undefined) return loaded;
  loaded = import(entry) as Promise<Entry>;
  // Node does not load again what it could not load. Another thread, which is started in the place of this one, may: what
  // was missing, such as a free file descriptor, may be there then.
  loaded.catch(() => setTimeout(() => process.exit(), LAST_WORDS_MS));
  return loaded;
}

/** The greatest niceness there is. */
const LEAST_PRIORITY = 19;

/** On Linux a thread has a priority of its own, which is set by its number: see setpriority(2), proc(5). */
function beNice(): void {
  if (process.platform !== 'linux' || niceness === 0) return;
  try {
    const thread = Number(readlinkSync('/proc/thread-self').split('/').pop());
    setPriority(thread, Math.min(LEAST_PRIORITY, getPriority(thread) + niceness));
  } catch {
    // Where there is no /proc, threads are as they are.
  }
}

beNice();
if (loadAfterMs === 0) void load();
else setTimeout(() => void load(), loadAfterMs);

const handle: Handler = async (message) => await (await load()).default(message);
module.exports = handle;
