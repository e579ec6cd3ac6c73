export { giveOrder, type GateOrder, type GateStatus } from './control.js'
export { DATA_FILE, RESTORE_FILE } from './development-server.js'
export { createGate, type Gate, type GateOptions } from './gate.js'
export { GATE_CONFIG_FILE, runGate, type GateConfig } from './run-gate.js'
export {
  buildServer,
  missingForServer,
  SERVER_SOFTWARE_REMEDY,
  serverCommand,
  ServerSoftwareError,
  type ServerSoftwareOptions,
} from './server-software.js'
export { makeVerifier, type ScramVerifier } from './scram.js'
