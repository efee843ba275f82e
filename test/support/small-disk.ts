import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const AMPLE_KIB = 64 * 1024;

/** A file system in memory with little room. */
export class SmallDisk implements Disposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** False once one could not be mounted. */
  static isPossible = true;

  /** @returns null where this user may mount none. */
  static mount(kibibytes = AMPLE_KIB): SmallDisk | null {
    const path = mkdtempSync(join(tmpdir(), 'storage-sync-disk-'));
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${kibibytes}k`, 'tmpfs', path], {
        stdio: 'ignore',
      });
      return new SmallDisk(path);
    } catch {
      rmSync(path, { recursive: true });
      SmallDisk.isPossible = false;
      return null;
    }
  }

  /** Gives it room again. */
  grow(): void {
    this.#resize(AMPLE_KIB);
  }

  /** Leaves no more room than this. */
  fill(kibibytesLeft: number): void {
    const { bsize, blocks, bfree } = statfsSync(this.path);
    this.#resize(Math.ceil(((blocks - bfree) * bsize) / 1024) + kibibytesLeft);
  }

  [Symbol.dispose](): void {
    execFileSync('umount', [this.path]);
    rmSync(this.path, { recursive: true });
  }

  #resize(kibibytes: number): void {
    execFileSync('mount', ['-o', `remount,size=${kibibytes}k`, this.path]);
  }
}
