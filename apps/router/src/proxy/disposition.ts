import type { Exchange } from './exchange.js'
import type { Forwarding } from './forwarding.js'
import type { Handler } from './handler.js'
import type { RouterAnswer } from './router-answer.js'

/** What a step decides. Nothing: the next step's turn. */
export type Disposition =
  | { readonly do: 'answer'; readonly answer: RouterAnswer }
  | { readonly do: 'forward'; readonly forwarding: Forwarding }
  | { readonly do: 'handle'; readonly handler: Handler }

/** A step of the way: looks at the exchange, changes what goes to the endpoint, and may settle what is to be done. */
export type Step = (exchange: Exchange) => Disposition | undefined

/** Asks the steps in order until one has decided. */
export const decideBy =
  (steps: readonly Step[]) =>
  (exchange: Exchange): Disposition => {
    for (const step of steps) {
      const disposition = step(exchange)
      if (disposition) return disposition
    }
    throw new Error('no step decided')
  }
