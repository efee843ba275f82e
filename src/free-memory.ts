import { MessageChannel } from 'node:worker_threads';

/** Less is left to the garbage collector. It is more than what Node shares between small buffers, too. */
const LEAST_BYTES = 32 * 1024;

/** Nobody is at its other end: what is moved to it is gone. */
const nowhere = new MessageChannel().port1;
nowhere.close();

/**
 * Gives the memory on which bytes lie back at once, all of it: no other view of it may be in use. V8 is slow to notice
 * memory outside of its heap: a thread that makes little else would hold some 30 MB of it that nobody needs.
 */
export function freeMemory({ buffer }: Uint8Array): void {
  if (!(buffer instanceof ArrayBuffer) || buffer.byteLength < LEAST_BYTES) return;
  nowhere.postMessage(null, [buffer]);
}
