import { appendFileSync } from 'node:fs';
import { createRequire, register, type ResolveHook } from 'node:module';
import { isMainThread } from 'node:worker_threads';

/*
 * Preloaded with `--import`, this writes what a process loads to the file that LOADED_MODULES names: what is imported by a
 * hook of the loader, which lives in a thread of its own, and what is required from the cache of `require` at the end.
 */
const list = process.env['LOADED_MODULES']!;

if (isMainThread) {
  register(import.meta.url);
  const { cache } = createRequire(import.meta.url);
  process.on('exit', () => appendFileSync(list, `${Object.keys(cache).join('\n')}\n`));
}

export const resolve: ResolveHook = async (specifier, context, nextResolve) => {
  const resolved = await nextResolve(specifier, context);
  appendFileSync(list, `${resolved.url}\n`);
  return resolved;
};
