import type { Prisma } from '@bloomery/database'
import { BOUND_INSTANCE } from '../../service-bindings/bound-instance.js'
import { ROUTE_PARTS } from '../routes/presenter.js'

/** A route binding with all that permissions, requests to its broker and presenters need. */
export const ROUTE_BINDING_PARTS = {
  route: { include: { ...ROUTE_PARTS, space: { include: { organization: true } } } },
  serviceInstance: { include: BOUND_INSTANCE },
} as const
export type RouteBindingParts = Prisma.RouteBindingGetPayload<{ include: typeof ROUTE_BINDING_PARTS }>
