import { runProcessSupervisor } from '@bloomery/containers'

// One of these per instance of the process engine: detached, so that it outlives the agent.
await runProcessSupervisor()
