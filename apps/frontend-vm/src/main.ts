import { runVmProcess } from '@remio/vm-runtime';
import { frontendPrograms } from './index.js';

await runVmProcess('frontend-vm', frontendPrograms);
