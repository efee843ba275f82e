import { readFileSync, rmSync } from 'node:fs';

/** How a thread is to be lost, and in which of its tasks. */
export interface Loss {
  readonly task: string;
  readonly way: 'exit' | 'memory' | 'throw' | 'reject' | 'throw between tasks';
}

/** The variable that names the file in which the next loss is written. It is taken away as the loss comes. */
export const LOSS_FILE = 'STORAGE_SYNC_TEST_LOSS_FILE';

/** Wraps a host's tasks so that one of them is the end of its thread. */
export function losing<Host extends object>(host: Host): Host {
  return new Proxy(host, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      return (request: unknown): unknown => {
        loseIn(String(name));
        return Reflect.apply(member, target, [request]) as unknown;
      };
    },
  });
}

function loseIn(task: string): void {
  const file = process.env[LOSS_FILE];
  if (file === undefined) return;
  const loss = takeLoss(file, task);
  if (loss === null) return;
  const failure = new Error(`lost in ${task}`);
  if (loss.way === 'exit') process.exit(3);
  if (loss.way === 'throw') {
    process.nextTick(() => {
      throw failure;
    });
  }
  if (loss.way === 'throw between tasks') {
    setTimeout(() => {
      throw failure;
    }, 1);
  }
  if (loss.way === 'reject') void Promise.reject(failure);
  const taken: unknown[] = [];
  while (loss.way === 'memory') taken.push(Array.from({ length: 1000 }, () => ({})));
}

/** Null when there is none for this task, or another thread has just taken it. */
function takeLoss(file: string, task: string): Loss | null {
  try {
    const loss = JSON.parse(readFileSync(file, 'utf8')) as Loss;
    if (loss.task !== task) return null;
    rmSync(file);
    return loss;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
