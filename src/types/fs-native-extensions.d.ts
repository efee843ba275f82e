declare module 'fs-native-extensions' {
  /** Takes an exclusive advisory lock of the whole file, or returns false when another description holds one. */
  export function tryLock(fd: number): boolean;
  export function unlock(fd: number): void;
}
