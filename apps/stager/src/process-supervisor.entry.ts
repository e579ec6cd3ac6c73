import { runProcessSupervisor } from '@bloomery/containers/process-supervisor'

// One of these per build on the process engine: detached, so that it outlives the stager.
await runProcessSupervisor()
