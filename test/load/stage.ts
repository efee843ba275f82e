import assert from 'node:assert/strict';
import { closeSync, openSync, statSync } from 'node:fs';
import { StorageSync, WorkerPool, type StorageSyncOptions } from '../../src/index.js';
import { readState } from '../../src/cache/bulk/data-file.js';
import { dataPath, generationPath } from '../../src/cache/layout.js';
import type { ReaderTasks } from '../../src/pipeline/messages.js';
import { changeDatabase, type NativeDatabase } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';

/** Notes the tasks of a pool, and may give other answers to them. */
export class WatchedPool extends WorkerPool {
  readonly tasks: string[] = [];
  instead: (task: string, nth: number) => object | Error | null = () => null;

  override async read<Name extends keyof ReaderTasks>(
    task: Name,
    request: ReaderTasks[Name]['request'],
    transfer?: readonly ArrayBuffer[],
  ): Promise<ReaderTasks[Name]['response']> {
    this.tasks.push(task);
    const other = this.instead(task, this.count(task));
    if (other instanceof Error) throw other;
    if (other !== null) return other as never;
    return await super.read(task, request, transfer);
  }

  count(task: string): number {
    return this.tasks.filter((each) => each === task).length;
  }
}

export interface Stage {
  readonly file: string;
  readonly dir: TempDirectory;
  readonly pool: WatchedPool;
  readonly options: StorageSyncOptions;
}

export async function onStage(
  build: string | ((db: NativeDatabase) => void),
  use: (stage: Stage) => Promise<void>,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(file, build);
  await using pool = new WatchedPool({ readerThreads: 2 });
  const options = {
    source: { url: `file:${file}` },
    cacheDir: dir.join('cache'),
    pool,
    maxBytesInFlight: 1024 * 1024,
  };
  await use({ file, dir, pool, options });
}

/** Of a load that was given up, or of pages that were not needed, nothing is behind the last page. */
export function assertNothingLeftBehind(cacheDir: string): void {
  const path = dataPath(generationPath(cacheDir, 1));
  const fd = openSync(path, 'r');
  const { lastPage, pageSize } = readState(fd, path).meta;
  closeSync(fd);
  assert.ok(statSync(path).size <= (lastPage + 1) * pageSize);
}

export async function assertEqualToSource(storage: StorageSync): Promise<void> {
  const verified = await storage.verify({ level: 'deep' });
  assert.equal(verified.differences, 0, JSON.stringify(verified, null, 1).slice(0, 2000));
  assert.equal(verified.complete, true);
}
