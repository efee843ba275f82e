import { Piscina } from 'piscina';

type Balancer = NonNullable<NonNullable<ConstructorParameters<typeof Piscina>[0]>['loadBalancer']>;
type Thread = Parameters<Balancer>[1][number];

/** More than there are lanes that are read at a time. */
const MAX_REMEMBERED = 64;

/**
 * Gives tasks that have something in common to one thread, which may hold something open for them. It costs no more than
 * that when another one gets such a task: the one they had is busy, or was lost.
 */
export class ThreadAffinity {
  readonly #maxTasks: number;
  /** By what tasks have in common, the thread's number; the one that was used last comes last. */
  readonly #threadOf = new Map<string, number>();

  constructor(maxTasksPerThread: number) {
    this.#maxTasks = maxTasksPerThread;
  }

  /** A task that is to be run where others of the same affinity are. */
  static mark<Task extends object>(task: Task, affinity: string): Task {
    return { ...task, [Piscina.queueOptionsSymbol]: { affinity } };
  }

  /** piscina's load balancer. Null where no thread has room. */
  readonly choose: Balancer = (task, threads) => {
    const marks = task as unknown as Record<symbol, { readonly affinity: string } | null>;
    const affinity = marks[Piscina.queueOptionsSymbol]?.affinity;
    const free = threads.filter(
      ({ currentUsage, terminating }) => currentUsage < this.#maxTasks && !terminating,
    );
    const own = affinity === undefined ? undefined : this.#threadOf.get(affinity);
    const chosen = free.find(({ id }) => id === own) ?? this.#leastBusy(free, affinity);
    if (chosen !== null && affinity !== undefined) this.#remember(affinity, chosen.id);
    return chosen;
  };

  #leastBusy(threads: readonly Thread[], affinity: string | undefined): Thread | null {
    const held = [...this.#threadOf.values()];
    // What is between two tasks now will soon have the next.
    const load = ({ id, currentUsage }: Thread) =>
      affinity === undefined
        ? currentUsage
        : currentUsage + held.filter((thread) => thread === id).length;
    let least: Thread | null = null;
    for (const thread of threads) if (least === null || load(thread) < load(least)) least = thread;
    return least;
  }

  #remember(affinity: string, thread: number): void {
    this.#threadOf.delete(affinity);
    this.#threadOf.set(affinity, thread);
    if (this.#threadOf.size > MAX_REMEMBERED) {
      this.#threadOf.delete(this.#threadOf.keys().next().value!);
    }
  }
}
