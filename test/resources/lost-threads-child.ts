import { loses } from './lose-thread.js';

/** A process in whose threads a task takes all memory that there is. */
await loses({ task: process.argv[2]!, way: 'memory' });
console.log('survived');
