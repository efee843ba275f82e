const IN_URL = [/[?&]authToken=([^&#\s]*)/gi, /:\/\/[^/?#\s]*?:([^/?#\s]*)@/g];

/**
 * The values that must never be printed. Messages come from many places, and a URL may carry a token, so everything
 * that goes to a terminal passes through {@link Secrets.redact}.
 */
export class Secrets {
  readonly #values = new Set<string>();

  /** Remembers the tokens that the environment and the command line hold, however the latter is mistyped. */
  static of(args: readonly string[], env: NodeJS.ProcessEnv): Secrets {
    const secrets = new Secrets();
    secrets.add(env['TURSO_AUTH_TOKEN']);
    secrets.addUrl(env['TURSO_DATABASE_URL']);
    args.forEach((arg, i) => {
      if (arg === '--auth-token') secrets.add(args[i + 1]);
      else if (arg.startsWith('--auth-token=')) secrets.add(arg.slice('--auth-token='.length));
      else secrets.addUrl(arg);
    });
    return secrets;
  }

  add(value: string | undefined): void {
    if (value) this.#values.add(value);
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

  redact(text: string): string {
    let redacted = text;
    // The longest first: one secret may be part of another.
    for (const value of [...this.#values].sort((a, b) => b.length - a.length)) {
      redacted = redacted.replaceAll(value, '***');
    }
    return redacted;
  }
}

function decoded(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
