/**
 * Where things lie when nobody says otherwise.
 *
 * @module
 */

/** State folder of an agent. One folder is one node: a machine may hold several. */
export const AGENT_STATE_FOLDER = "/var/lib/tunnelmesh";

/** State folder of a coordinator. */
export const COORDINATOR_STATE_FOLDER = "/var/lib/tunnelmesh-coordinator";

/** TCP port that a coordinator listens on, and its first UDP port. */
export const COORDINATOR_PORT = 8443;
