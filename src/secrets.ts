const IN_URL = [/[?&]authToken=([^&#\s]*)/gi, /:\/\/[^/?#\s]*?:([^/?#\s]*)@/g];

/**
 * The values that must never be told. Messages come from many places, servers among them, and a URL may carry a token:
 * everything that goes to a terminal passes through {@link Secrets.redact}, and every failure of a connection through
 * {@link Secrets.redactError}.
 */
export class Secrets {
  readonly #values = new Set<string>();

  /** Remembers the tokens that the environment and the command line hold, however the latter is mistyped. */
  static of(args: readonly string[], env: NodeJS.ProcessEnv): Secrets {
    const secrets = new Secrets();
    secrets.add(env['TURSO_AUTH_TOKEN']);
    secrets.add(env['STORAGE_SYNC_WATCH_TOKEN']);
    secrets.addUrl(env['TURSO_DATABASE_URL']);
    args.forEach((arg, i) => {
      if (arg === '--auth-token') secrets.add(args[i + 1]);
      else if (arg.startsWith('--auth-token=')) secrets.add(arg.slice('--auth-token='.length));
      else secrets.addUrl(arg);
    });
    return secrets;
  }

  add(value: string | undefined): void {
    if (!value) return;
    this.#values.add(value);
    this.#values.add(encodeURIComponent(value));
  }

  addUrl(url: string | undefined): void {
    if (url === undefined) return;
    for (const pattern of IN_URL) {
      for (const [, value = ''] of url.matchAll(pattern)) {
        this.add(value);
        this.add(decoded(value));
      }
    }
  }

  /** Takes the values out of an error: its texts, those of its causes, and its fields. */
  redactError<T>(error: T, seen = new Set<unknown>()): T {
    if (!isData(error) || seen.has(error)) return error;
    seen.add(error);
    for (const name of Object.getOwnPropertyNames(error)) {
      const field = Object.getOwnPropertyDescriptor(error, name)!;
      if (!('value' in field) || !field.configurable) continue;
      const told: unknown =
        typeof field.value === 'string'
          ? this.redact(field.value)
          : this.redactError(field.value as unknown, seen);
      if (told !== field.value) Object.defineProperty(error, name, { ...field, value: told });
    }
    return error;
  }

  redact(text: string): string {
    let redacted = text;
    // The longest first: one secret may be part of another.
    for (const value of [...this.#values].sort((a, b) => b.length - a.length)) {
      redacted = redacted.replaceAll(value, '***');
    }
    return redacted;
  }
}

/** Whether what it holds belongs to it alone: not a socket, or memory, that a library hung on its error. */
function isData(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  if (value instanceof Error || Array.isArray(value)) return true;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function decoded(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
