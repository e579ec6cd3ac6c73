import { runProcessSupervisor } from '@bloomery/containers/process-supervisor'

// One of these per instance of the process engine: detached, so that it outlives the agent.
await runProcessSupervisor()
