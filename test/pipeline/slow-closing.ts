import { writeFileSync } from 'node:fs';
import { setTimeout } from 'node:timers';
import { heldCaches, onSessionEnded } from '../../src/pipeline/serve.js';

const LONG_MS = 300;

/** A reader thread's entry that has a cache open from a task on, and takes its time to close it after the session. */
const held = heldCaches();
const files: string[] = [];

onSessionEnded(() => {
  setTimeout(() => {
    for (const file of files) writeFileSync(file, '');
    held.closed();
  }, LONG_MS);
});

export default (message: { readonly request: { readonly file: string } }): unknown => {
  files.push(message.request.file);
  held.opened();
  return { ok: true, response: {} };
};
