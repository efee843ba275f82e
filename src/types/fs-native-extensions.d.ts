declare module 'fs-native-extensions' {
  /**
   * Takes an advisory lock of the whole file, or returns false when another description holds one. Shared ones go
   * together.
   */
  export function tryLock(fd: number, options?: { readonly shared?: boolean }): boolean;
  /** Waits for an exclusive advisory lock of the whole file, and holds up the thread meanwhile. */
  export function waitForLockSync(fd: number): void;
  export function unlock(fd: number): void;
}
