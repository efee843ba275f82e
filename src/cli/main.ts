#!/usr/bin/env node
import { runCommandLine } from './program.js';

// Not process.exit: what was written to stdout must reach its reader first.
process.exitCode = await runCommandLine(process.argv.slice(2));
