/** What is used here of WebAssembly (https://webassembly.github.io/spec/js-api/): the types of Node 20 leave it out. */
declare namespace WebAssembly {
  interface Memory {
    readonly buffer: ArrayBuffer;
    /** Adds pages of 64 KiB. Buffers got before are empty then. */
    grow(pages: number): number;
  }

  interface Instance {
    readonly exports: object;
  }

  function instantiate(bytes: Uint8Array): Promise<{ readonly instance: Instance }>;
}
