/**
 * One peer in the ingress worker.
 *
 * @module
 */

/** Whose packets arrive. */
export class IngressPeer {
  readonly id: string;
  /** Indices from `PEER` in shared_state.ts. */
  readonly block: Float64Array;

  constructor(id: string, block: SharedArrayBuffer) {
    this.id = id;
    this.block = new Float64Array(block);
  }
}
