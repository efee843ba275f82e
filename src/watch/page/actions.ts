import type { StatusDocument } from '../status-document.js';
import type { WatchJob } from '../watch-status.js';
import { byId, setAttribute, setText } from './dom.js';
import { formatBytes, formatCount, shown } from './text.js';
import { Token } from './token.js';

const FIRST_ASKED = 'Who asks for rounds has to know it. It is kept until this tab is closed.';
const NO_TOKEN =
  'This watch has no token, so nothing can be asked of it here. Start it with STORAGE_SYNC_WATCH_TOKEN set.';
const TIMEOUT_MS = 10_000;

interface Failure {
  readonly message: string;
  readonly hint: string | null;
}

/** The buttons that ask the watch for rounds, and what became of the asking. */
export class Actions {
  readonly #buttons = [byId('sync'), byId('verify'), byId('rebuild')] as HTMLButtonElement[];
  readonly #result = byId('action-result');
  readonly #dialog = byId<HTMLDialogElement>('rebuild-dialog');
  readonly #token = new Token(() => this.#tell('good', 'The token is forgotten.'));
  readonly #onAsked: () => void;
  #busy = false;
  #allowed: boolean | null = null;

  constructor(onAsked: () => void) {
    this.#onAsked = onAsked;
    byId('sync').addEventListener('click', () => void this.#ask('sync', {}));
    byId('verify').addEventListener('click', () => {
      const level = byId<HTMLSelectElement>('level').value;
      void this.#ask('verify', { level, repair: byId<HTMLInputElement>('repair').checked });
    });
    byId('rebuild').addEventListener('click', () => this.#dialog.showModal());
    byId('rebuild-cancel').addEventListener('click', () => this.#dialog.close());
    byId('rebuild-confirm').addEventListener('click', () => {
      this.#dialog.close();
      void this.#ask('rebuild', { allowLoss: false });
    });
    this.#enable();
  }

  show({ actions, cache, diskBytes }: StatusDocument): void {
    const rows = Object.values(cache.tables).reduce((sum, table) => sum + table.rows, 0);
    setText(
      byId('rebuild-text'),
      `A new generation is built of all that the source holds, beside the one that is served, and takes its place when it is complete. Every row is read (${formatCount(rows)} as of now), and the disk needs room for both (${formatBytes(diskBytes)} now).`,
    );
    if (actions === this.#allowed) return;
    this.#allowed = actions;
    this.#enable();
    this.#tell('unknown', actions ? '' : NO_TOKEN);
  }

  #enable(): void {
    for (const button of this.#buttons) button.disabled = !this.#allowed;
    for (const id of ['level', 'repair']) {
      byId<HTMLInputElement | HTMLSelectElement>(id).disabled = !this.#allowed;
    }
  }

  async #ask(job: WatchJob, body: object): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    this.#tell('busy', `Asking for a ${job}…`);
    try {
      await this.#send(job, body);
    } catch {
      this.#tell('bad', `The ${job} could not be asked for: the watch gave no answer.`);
    } finally {
      this.#busy = false;
    }
  }

  async #send(job: WatchJob, body: object): Promise<void> {
    let why = FIRST_ASKED;
    for (;;) {
      const token = await this.#token.get(why);
      if (token === null) return this.#tell('unknown', `No token was given: no ${job}.`);
      const response = await fetch(job, {
        method: 'POST',
        headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      if (response.ok) {
        this.#tell('good', `A ${job} was asked for. It begins as soon as no other round runs.`);
        return this.#onAsked();
      }
      const { message, hint } = await failureOf(response);
      if (response.status !== 401) {
        const said = hint === null ? message : `${message} ${hint}`;
        return this.#tell('bad', `No ${job}: ${said}`);
      }
      this.#token.forget();
      why = `${message} Give it again.`;
    }
  }

  #tell(level: string, text: string): void {
    setAttribute(this.#result, 'data-level', level);
    setText(this.#result, text);
  }
}

async function failureOf(response: Response): Promise<Failure> {
  const answer: unknown = await response.json().catch(() => null);
  const error = (answer as { error?: Partial<Failure> } | null)?.error;
  if (typeof error?.message !== 'string') {
    return { message: `The watch answered with status ${response.status}.`, hint: null };
  }
  return {
    message: shown(error.message),
    hint: typeof error.hint === 'string' ? shown(error.hint) : null,
  };
}
