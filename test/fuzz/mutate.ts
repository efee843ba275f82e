import type { Random } from '../support/random.js';

const TOKENS = [
  'null',
  'NaN',
  '-1',
  '1e999',
  '99999999999999999999',
  '"',
  '\\u0000',
  '\\ud800',
  '{}',
  '[]',
  '[[[[',
  '}',
  ',',
  '"type":"integer"',
  '\0',
  '\xff\xfe',
  '\xc0\x80',
] as const;

/** Bytes that are those given but for a few changes; sometimes cut or longer. */
export function mutateBytes(random: Random, original: Uint8Array): Buffer {
  let bytes: Buffer = Buffer.from(original);
  for (let changes = random.int(1, 4); changes > 0; changes--) bytes = mutateOnce(random, bytes);
  return bytes;
}

function mutateOnce(random: Random, bytes: Buffer): Buffer {
  const at = random.int(0, bytes.length);
  const end = Math.min(bytes.length, at + random.int(0, 64));
  switch (random.int(0, 8)) {
    case 0:
      return bytes.subarray(0, at);
    case 1:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)]);
    case 2:
      return Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)]);
    case 3:
      return Buffer.concat([
        bytes.subarray(0, at),
        Buffer.from(random.pick(TOKENS), 'latin1'),
        bytes.subarray(random.chance(0.5) ? at : end),
      ]);
    case 4:
      return Buffer.concat([bytes.subarray(0, at), randomBytes(random, 16), bytes.subarray(end)]);
    case 5: {
      const from = random.int(0, bytes.length);
      bytes.copy(bytes, at, from, Math.min(bytes.length, from + 32));
      return bytes;
    }
    default:
      if (at < bytes.length) {
        bytes[at] = random.chance(0.7) ? bytes[at]! ^ (1 << random.int(0, 7)) : random.int(0, 255);
      }
      return bytes;
  }
}

export function randomBytes(random: Random, most: number): Buffer {
  return Buffer.from(Array.from({ length: random.int(0, most) }, () => random.int(0, 255)));
}

/** A value that JSON can hold, and nobody expects. */
function hostile(random: Random): unknown {
  return random.pick<() => unknown>([
    () => null,
    () => true,
    () => -1,
    () => 1.5,
    () => Number.MAX_SAFE_INTEGER + 2,
    () => 4_294_967_295,
    () => '',
    () => 'NaN',
    () => '0x10',
    () => ' 12 ',
    () => '9223372036854775808',
    () => '-9223372036854775808',
    () => '1e3',
    () => '9'.repeat(5000),
    () => '!!!!',
    () => 'QUJ',
    () => 'Q',
    () => '\ud800',
    () => '../../etc/passwd',
    () => 'x'.repeat(random.int(1, 100_000)),
    () => [],
    () => ({}),
    () => ({ __proto__: null, toString: 1 }),
    () => [[[]]],
    () => Array(random.int(1, 1000)).fill(null),
    () => deep(random.int(10, 500)),
    () => ({ type: 'integer', value: '7' }),
    () => ({ type: 'blob', base64: '####' }),
    () => ({ type: 'error', error: { message: 'no', code: random.pick(CODES) } }),
  ])();
}

const CODES = ['SQLITE_BUSY', 'RESPONSE_TOO_LARGE', 'AUTH', '', 'URL_INVALID', 'toString'];

function deep(depth: number): unknown {
  let value: unknown = 0;
  for (let i = 0; i < depth; i++) value = i % 2 ? [value] : { a: value };
  return value;
}

type Container = Record<string | number, unknown>;

/** A copy with some of its parts replaced, left out or doubled. */
export function mutateJson(random: Random, original: unknown): unknown {
  const root: Container = { value: structuredClone(original) };
  for (let changes = random.int(1, 3); changes > 0; changes--) changePart(random, root);
  return root['value'];
}

function changePart(random: Random, root: Container): void {
  let parent = root;
  let name: string | number = 'value';
  while (random.chance(0.85)) {
    const child = parent[name];
    if (typeof child !== 'object' || child === null) break;
    const names: (string | number)[] = Array.isArray(child)
      ? [...child.keys()]
      : Object.keys(child);
    if (names.length === 0) break;
    parent = child as Container;
    name = random.pick(names);
  }
  const change = random.int(0, 3);
  if (change === 0 && Array.isArray(parent)) parent.splice(Number(name), 1);
  else if (change === 0) Reflect.deleteProperty(parent, name);
  else if (change === 1 && Array.isArray(parent))
    parent.push(structuredClone(parent[Number(name)]));
  else parent[name] = hostile(random);
}

/** JSON text of something alike; half the time mutated as text too. */
export function mutateText(random: Random, original: unknown): Buffer {
  if (random.chance(0.3)) return mutateBytes(random, Buffer.from(JSON.stringify(original)));
  let json = JSON.stringify(mutateJson(random, original) ?? null);
  if (random.chance(0.03)) {
    const depth = random.int(1000, 200_000);
    json = json.replace(/null|"[^"]*"/, `${'['.repeat(depth)}${']'.repeat(depth)}`);
  }
  const text = Buffer.from(json);
  return random.chance(0.15) ? mutateBytes(random, text) : text;
}
