import type { Failure } from '@bloomery/osb'

/** What users are told where a broker does not let go of a binding: an instance may have many, and be deleted with them. */
export const unbindFailure =
  (instance: { readonly name: string }) =>
  ({ reason, message }: Failure): string =>
    reason === 'concurrency'
      ? 'The service broker rejected the request due to an operation being in progress for the service binding.'
      : `Service broker failed to delete service binding for instance ${instance.name}: ${message}`
