const WORDS = (
  'account action after agent align answer batch before bridge build cache carry change check ' +
  'choose clean cloud column commit compare count cover cursor daily delta depth detail draft ' +
  'early edge engine entry error event every exact field filter final first fixed flow focus ' +
  'frame future garden gather ghost grain green group guide handle harbor hidden index inner ' +
  'input island join journey kernel key label lane large later layer ledger level light limit ' +
  'local lookup market master measure memory merge method middle mirror model month motion ' +
  'native nearby never night north note object offer often open orange order origin other page ' +
  'paper parent part pattern period phase place plain plan point policy pool prefer process ' +
  'profile prompt quick quiet random range ratio ready reason record region release remote ' +
  'report request result retry return river round route sample scale scope search second ' +
  'segment sensor series session shape share signal silver simple single sleep small snapshot ' +
  'source space stage start state status step stone store stream strong summary supply sync ' +
  'system table target task theory thread ticket timer token topic total trace track transfer ' +
  'travel tree trial trust tuple union unit update upper usage user value vector version view ' +
  'visit volume walk water weight west window winter wonder work write yellow zone'
).split(' ');

/**
 * A seeded generator of 32-bit numbers (sfc32), the same on every machine. Each row of generated data has a stream of
 * its own, so that any row can be made without those before it.
 */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number, stream: number, index: number) {
    this.#a = seed | 0;
    this.#b = stream | 0;
    this.#c = index | 0;
    // Neighbouring seeds give alike numbers until the state is mixed.
    for (let i = 0; i < 12; i++) this.next();
  }

  /** A whole number of 32 bits, without sign. */
  next(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** A whole number from 0 to `limit - 1`. */
  below(limit: number): number {
    return Math.floor((this.next() / 0x1_0000_0000) * limit);
  }

  /** A number from 0 to 1, 1 left out. */
  fraction(): number {
    return this.next() / 0x1_0000_0000;
  }

  /** True in one of `times` cases. */
  oneIn(times: number): boolean {
    return this.below(times) === 0;
  }

  pick<T>(values: readonly [T, ...T[]]): T {
    return values[this.below(values.length)] ?? values[0];
  }

  uuid(): string {
    const hex =
      hex8(this.next()) +
      hex8((this.next() & 0xffff_0fff) | 0x4000) +
      hex8((this.next() & 0x3fff_ffff) | 0x8000_0000) +
      hex8(this.next());
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  }

  /** Words of `length` characters in all. */
  words(length: number): string {
    let text = '';
    while (text.length < length) text += `${WORDS[this.next() % WORDS.length]} `;
    return text.slice(0, length);
  }

  bytes(length: number): Uint8Array {
    const words = new Uint32Array(Math.ceil(length / 4));
    for (let i = 0; i < words.length; i++) words[i] = this.next();
    return new Uint8Array(words.buffer, 0, length);
  }
}

function hex8(value: number): string {
  return (value >>> 0).toString(16).padStart(8, '0');
}
