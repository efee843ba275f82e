import { byId, setHidden, setText } from './dom.js';

const KEY = 'storage-sync-token';

/** The token that requests carry: asked for once, kept as long as the tab lives and nowhere else. */
export class Token {
  readonly #dialog = byId<HTMLDialogElement>('token-dialog');
  readonly #input = byId<HTMLInputElement>('token');
  readonly #forget = byId('forget');
  #value: string | null = kept();

  constructor(onForgotten: () => void) {
    byId('token-cancel').addEventListener('click', () => this.#dialog.close());
    this.#forget.addEventListener('click', () => {
      this.forget();
      onForgotten();
    });
    setHidden(this.#forget, this.#value === null);
  }

  /** Resolves to the token, asked for where there is none; null when none is given. */
  async get(why: string): Promise<string | null> {
    return this.#value ?? (await this.#ask(why));
  }

  forget(): void {
    this.#value = null;
    setHidden(this.#forget, true);
    keep(null);
  }

  #ask(why: string): Promise<string | null> {
    setText(byId('token-text'), why);
    this.#input.value = '';
    const asked = new AbortController();
    const { signal } = asked;
    return new Promise((resolve) => {
      byId('token-form').addEventListener(
        'submit',
        (event) => {
          event.preventDefault();
          this.#accept(this.#input.value);
          this.#dialog.close();
        },
        { signal },
      );
      this.#dialog.addEventListener(
        'close',
        () => {
          asked.abort();
          this.#input.value = '';
          resolve(this.#value);
        },
        { signal },
      );
      this.#dialog.showModal();
    });
  }

  #accept(token: string): void {
    this.#value = token;
    setHidden(this.#forget, false);
    keep(token);
  }
}

// A browser may refuse to keep anything: it is asked for again after a reload then.

function kept(): string | null {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function keep(token: string | null): void {
  try {
    if (token === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, token);
  } catch {
    // It holds until the page is left.
  }
}
