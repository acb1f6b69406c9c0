# The first process of a node. It has a network, mounts and process numbers of its own: whatever the node starts ends
# with it, and whatever the node mounts, or writes outside its folder, is gone then.
set -eu

# The network is made from outside. A line says that it is there.
read -r _

mount --make-rprivate /
mount -t proc proc /proc
for folder in /run /var/lib /var/log; do
	mount -t tmpfs -o mode=755 tmpfs "$folder"
done
# The kubelet insists on it, for volumes that are mounted while containers run.
mount --make-rshared /

ip link set lo up
ip address add "$NODE_ADDRESS/$NODE_BITS" dev eth0
ip link set eth0 up

containerd --config "$NODE_DIR/containerd.toml" >"$NODE_DIR/containerd.log" 2>&1 &
containerd=$!
until ctr version >/dev/null 2>&1; do
	kill -0 "$containerd" # ends us when it has ended
	sleep 0.1
done
ctr --namespace k8s.io images import "$NODE_DIR/image.tar"

"$NODE_PLAYGROUND" kubelet \
	--config="$NODE_DIR/kubelet.yaml" --kubeconfig="$NODE_DIR/kubelet.kubeconfig" \
	--hostname-override="$NODE_NAME" --node-ip="$NODE_ADDRESS" >"$NODE_DIR/kubelet.log" 2>&1
