/**
 * What every thread of a pool begins with: loads the thread's own entry, an ES module, once.
 *
 * piscina loads a handler by `require` and then by `import`, anew for each task that comes before it is there. Two loads
 * of one ES module at a time can end the process (`Module::IsGraphAsync must be used on an instantiated module`), so
 * what piscina loads is this CommonJS file.
 */
type Handler = (message: unknown) => Promise<unknown>;

const { workerData } = require('node:worker_threads') as typeof import('node:worker_threads');
const { entry } = workerData as { readonly entry: string };
const loaded = import(entry) as Promise<{ readonly default: Handler }>;
// A failure is told to the first task.
loaded.catch(() => undefined);

const handle: Handler = async (message) => await (await loaded).default(message);
module.exports = handle;
