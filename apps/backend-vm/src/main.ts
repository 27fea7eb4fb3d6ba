import { runVmProcess } from '@remio/vm-runtime';
import { backendPrograms } from './index.js';

await runVmProcess('backend-vm', backendPrograms);
