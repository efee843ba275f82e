declare module 'fs-native-extensions' {
  /** Takes an exclusive advisory lock of the whole file, or returns false when another description holds one. */
  export function tryLock(fd: number): boolean;
  /** Waits for an exclusive advisory lock of the whole file, and holds up the thread meanwhile. */
  export function waitForLockSync(fd: number): void;
  export function unlock(fd: number): void;
}
