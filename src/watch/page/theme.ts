import { byId } from './dom.js';

const KEY = 'storage-sync-theme';
const dark = matchMedia('(prefers-color-scheme: dark)');

/** Light or dark: as the system has it, or as was chosen, which is kept. */
export function keepTheme(onChange: () => void): void {
  const choice = byId<HTMLSelectElement>('theme');
  choice.value = remembered();
  const apply = (): void => {
    const isDark = choice.value === 'dark' || (choice.value === 'system' && dark.matches);
    document.documentElement.dataset['theme'] = isDark ? 'dark' : 'light';
    onChange();
  };
  choice.addEventListener('change', () => {
    remember(choice.value);
    apply();
  });
  dark.addEventListener('change', apply);
  apply();
}

// A browser may refuse to keep anything.

function remembered(): string {
  try {
    const kept = localStorage.getItem(KEY);
    return kept === 'light' || kept === 'dark' ? kept : 'system';
  } catch {
    return 'system';
  }
}

function remember(choice: string): void {
  try {
    localStorage.setItem(KEY, choice);
  } catch {
    // It holds until the page is left.
  }
}
