export {
  type Confinement,
  type ContainerEngine,
  type ContainerPurpose,
  type ContainerSpec,
  type ContainerStatus,
  type ContainerUsage,
  EngineError,
  type LayerMount,
  type Mount,
  type OutputLine,
  type ReservedEndpoint,
  type SecretFiles,
  type SeenContainer,
} from './engine.js'
export { DockerEngine, type DockerEngineOptions } from './docker/docker-engine.js'
export { createEngine, type EngineOptions } from './create-engine.js'
export { ProcessEngine, type ProcessEngineOptions } from './process/process-engine.js'
export { runProcessSupervisor } from './process/supervise.js'
