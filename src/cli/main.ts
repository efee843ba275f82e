#!/usr/bin/env node
import { runCommandLine } from './program.js';

// A reader that has seen enough of the help goes away, as in `--help | head`: that is no failure.
process.stdout.on('error', () => {});

// Not process.exit: what was written to stdout must reach its reader first.
process.exitCode = await runCommandLine(process.argv.slice(2));
