// SPDX-License-Identifier: GPL-2.0
/*
 * The memory can be registered for RDMA: a peer reads, writes and flushes the media,
 * here over soft-RoCE and the loopback device.
 */
#include <infiniband/verbs.h>

#include "pmem_dax.h"

#define NAMESPACE	"namespace0.0"
#define LENGTH	(64 * SZ_1M)
#define PIECE	(4 * SZ_4K)
#define LINK	"pmem_dax_rxe"
#define PORT	1
#define REMOTE	(IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE)
#define FLUSH	(IBV_ACCESS_FLUSH_GLOBAL | IBV_ACCESS_FLUSH_PERSISTENT)

/* The ends, and where 4K and 2M pages may meet. */
static const off_t places[] = {
	0, SZ_1M - PIECE / 2, 33 * SZ_1M - SZ_4K - 512, LENGTH - SZ_1M - SZ_4K, LENGTH - PIECE,
};

/* Of two queue pairs that are connected, the first is used, the other is its peer. */
FIXTURE(pins_rdma) {
	struct ibv_context *context;
	struct ibv_pd *domain;
	struct ibv_cq *queue;
	struct ibv_qp *pair[2];
	struct ibv_mr *map_region, *buffer_region;
	char *map, *buffer;
	uint64_t seed;
	int fd;
};

FIXTURE_VARIANT(pins_rdma) {
	struct layout layout;
};

FIXTURE_VARIANT_ADD(pins_rdma, huge) {
	.layout = LAYOUT_HUGE,
};

FIXTURE_VARIANT_ADD(pins_rdma, small) {
	.layout = LAYOUT_SMALL,
};

FIXTURE_VARIANT_ADD(pins_rdma, mixed) {
	.layout = LAYOUT_MIXED,
};

static struct ibv_context *open_link(void)
{
	struct ibv_device **devices = ibv_get_device_list(NULL);
	struct ibv_context *context = NULL;
	int i;

	for (i = 0; devices && devices[i]; i++)
		if (!strcmp(ibv_get_device_name(devices[i]), LINK))
			context = ibv_open_device(devices[i]);
	if (devices)
		ibv_free_device_list(devices);
	return context;
}

static struct ibv_qp *create_pair(struct ibv_context *context, struct ibv_pd *domain,
				  struct ibv_cq *queue)
{
	struct ibv_qp_init_attr_ex init = {
		.send_cq = queue,
		.recv_cq = queue,
		.cap = {
			.max_send_wr = 4,
			.max_recv_wr = 1,
			.max_send_sge = 1,
			.max_recv_sge = 1,
		},
		.qp_type = IBV_QPT_RC,
		.sq_sig_all = 1,
		.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS,
		.pd = domain,
		.send_ops_flags = IBV_QP_EX_WITH_RDMA_READ | IBV_QP_EX_WITH_RDMA_WRITE |
				  IBV_QP_EX_WITH_FLUSH,
	};

	return ibv_create_qp_ex(context, &init);
}

/* connect_to() - make @pair ready for what @peer sends, and for sending to it; 0 or an errno */
static int connect_to(struct ibv_context *context, struct ibv_qp *pair, uint32_t peer)
{
	static const uint8_t loopback[16] = { [10] = 0xff, 0xff, 127, 0, 0, 1 };
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_INIT,
		.port_num = PORT,
		.qp_access_flags = REMOTE | FLUSH,
	};
	union ibv_gid gid;
	int index, result;

	for (index = 0; !ibv_query_gid(context, PORT, index, &gid); index++)
		if (!memcmp(gid.raw, loopback, sizeof(loopback)))
			break;
	result = ibv_modify_qp(pair, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT |
			       IBV_QP_ACCESS_FLAGS);
	if (result)
		return result;

	attr = (struct ibv_qp_attr){
		.qp_state = IBV_QPS_RTR,
		.path_mtu = IBV_MTU_4096,
		.dest_qp_num = peer,
		.max_dest_rd_atomic = 1,
		.min_rnr_timer = 12,
		.ah_attr = {
			.is_global = 1,
			.port_num = PORT,
			.grh = {
				.dgid = gid,
				.sgid_index = index,
				.hop_limit = 1,
			},
		},
	};
	result = ibv_modify_qp(pair, &attr, IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU |
			       IBV_QP_DEST_QPN | IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
			       IBV_QP_MIN_RNR_TIMER);
	if (result)
		return result;

	attr = (struct ibv_qp_attr){
		.qp_state = IBV_QPS_RTS,
		.timeout = 18,
		.retry_cnt = 7,
		.rnr_retry = 7,
		.max_rd_atomic = 1,
	};
	return ibv_modify_qp(pair, &attr, IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
			     IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
}

FIXTURE_SETUP(pins_rdma)
{
	self->context = open_link();
	if (!self->context) {
		if (shell("modprobe -a rdma_rxe ib_uverbs"))
			SKIP(return, "no soft-RoCE");
		ASSERT_EQ(0, shell("rdma link add " LINK " type rxe netdev lo"));
		self->context = open_link();
	}
	ASSERT_NE(NULL, self->context);
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	self->map = map_layout(self->fd, LENGTH, &variant->layout);
	ASSERT_NE(MAP_FAILED, self->map);
	self->buffer = aligned_alloc(SZ_4K, SZ_1M);
	ASSERT_NE(NULL, self->buffer);
	self->seed = new_seed();
	self->domain = ibv_alloc_pd(self->context);
	ASSERT_NE(NULL, self->domain);
	self->queue = ibv_create_cq(self->context, 8, NULL, NULL, 0);
	ASSERT_NE(NULL, self->queue);
	self->pair[0] = create_pair(self->context, self->domain, self->queue);
	ASSERT_NE(NULL, self->pair[0]);
	self->pair[1] = create_pair(self->context, self->domain, self->queue);
	ASSERT_NE(NULL, self->pair[1]);
	ASSERT_EQ(0, connect_to(self->context, self->pair[0], self->pair[1]->qp_num));
	ASSERT_EQ(0, connect_to(self->context, self->pair[1], self->pair[0]->qp_num));
	self->buffer_region = ibv_reg_mr(self->domain, self->buffer, SZ_1M,
					 IBV_ACCESS_LOCAL_WRITE);
	ASSERT_NE(NULL, self->buffer_region);
	/* Nobody has touched it. */
	self->map_region = ibv_reg_mr(self->domain, self->map, LENGTH,
				      IBV_ACCESS_LOCAL_WRITE | REMOTE | FLUSH);
	ASSERT_NE(NULL, self->map_region) {
		TH_LOG("ibv_reg_mr: %s", strerror(errno));
	}
}

/* The rest ends with the process, and the link serves all tests. */
FIXTURE_TEARDOWN(pins_rdma)
{
	close(self->fd);
}

/* done() - how the request that was just made ended; -1 if it did not */
static int done(FIXTURE_DATA(pins_rdma) *self)
{
	time_t start = time(NULL);
	struct ibv_wc completion;

	if (ibv_wr_complete(ibv_qp_to_qp_ex(self->pair[0])))
		return -1;
	while (time(NULL) < start + 10)
		if (ibv_poll_cq(self->queue, 1, &completion) == 1)
			return completion.status;
	return -1;
}

/* rdma_write() - let the peer store @length bytes of @from, which @region has, at @to */
static int rdma_write(FIXTURE_DATA(pins_rdma) *self, char *to, char *from, struct ibv_mr *region,
		      size_t length)
{
	struct ibv_qp_ex *pair = ibv_qp_to_qp_ex(self->pair[0]);

	ibv_wr_start(pair);
	ibv_wr_rdma_write(pair, self->map_region->rkey, (uintptr_t)to);
	ibv_wr_set_sge(pair, region->lkey, (uintptr_t)from, length);
	return done(self);
}

/* rdma_read() - let the peer load @length bytes of @from, and store them at @to */
static int rdma_read(FIXTURE_DATA(pins_rdma) *self, char *to, struct ibv_mr *region, char *from,
		     size_t length)
{
	struct ibv_qp_ex *pair = ibv_qp_to_qp_ex(self->pair[0]);

	ibv_wr_start(pair);
	ibv_wr_rdma_read(pair, self->map_region->rkey, (uintptr_t)from);
	ibv_wr_set_sge(pair, region->lkey, (uintptr_t)to, length);
	return done(self);
}

/* rdma_flush() - let the peer write back its caches */
static int rdma_flush(FIXTURE_DATA(pins_rdma) *self, char *start, size_t length)
{
	struct ibv_qp_ex *pair = ibv_qp_to_qp_ex(self->pair[0]);

	ibv_wr_start(pair);
	ibv_wr_flush(pair, self->map_region->rkey, (uintptr_t)start, length,
		     IBV_FLUSH_PERSISTENT, IBV_FLUSH_RANGE);
	return done(self);
}

/* passes() - whether bytes get to the media at @place of the mapping, and from there */
static bool passes(FIXTURE_DATA(pins_rdma) *self, off_t start, off_t place)
{
	uint64_t seed = new_seed();
	bool result;

	fill(self->buffer, PIECE, seed, 0);
	result = rdma_write(self, self->map + place, self->buffer, self->buffer_region, PIECE) ==
		 IBV_WC_SUCCESS;
	memset(self->buffer, 0, PIECE);
	result = result && pread(self->fd, self->buffer, PIECE, start + place) == PIECE &&
		 differs(self->buffer, PIECE, seed, 0) == -1;

	fill(self->buffer, PIECE, ~seed, 0);
	result = result && pwrite(self->fd, self->buffer, PIECE, start + place) == PIECE;
	memset(self->buffer, 0, PIECE);
	return result && rdma_read(self, self->buffer, self->buffer_region, self->map + place,
				   PIECE) == IBV_WC_SUCCESS &&
	       differs(self->buffer, PIECE, ~seed, 0) == -1;
}

TEST_F(pins_rdma, registered)
{
	off_t start = variant->layout.offset;
	int i;

	EXPECT_EQ(layout_huge(&variant->layout, LENGTH), huge_bytes(self->map, LENGTH));
	for (i = 0; i < ARRAY_SIZE(places); i++) {
		EXPECT_TRUE(passes(self, start, places[i])) {
			TH_LOG("at 0x%lx", places[i]);
		}
	}
	/* From one place of the media to another. */
	fill(self->map + SZ_1M - SZ_4K, PIECE, self->seed, 0);
	EXPECT_EQ(IBV_WC_SUCCESS, rdma_write(self, self->map + 40 * SZ_1M + 24,
					     self->map + SZ_1M - SZ_4K, self->map_region, PIECE));
	ASSERT_EQ(PIECE, pread(self->fd, self->buffer, PIECE, start + 40 * SZ_1M + 24));
	EXPECT_EQ(-1, differs(self->buffer, PIECE, self->seed, 0));

	/* Without the mapping. */
	munmap(self->map, LENGTH);
	for (i = 0; i < ARRAY_SIZE(places); i++)
		EXPECT_TRUE(passes(self, start, places[i]));
	EXPECT_EQ(0, ibv_dereg_mr(self->map_region));
}

/* A peer may make it durable, as it is persistent memory; other memory it may not. */
TEST_F(pins_rdma, flush)
{
	EXPECT_EQ(NULL, ibv_reg_mr(self->domain, self->buffer, SZ_4K,
				   IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_LOCAL_WRITE | FLUSH));
	EXPECT_TRUE(passes(self, variant->layout.offset, SZ_1M));
	EXPECT_EQ(IBV_WC_SUCCESS, rdma_flush(self, self->map + SZ_1M, PIECE));
	EXPECT_EQ(IBV_WC_SUCCESS, rdma_flush(self, self->map + LENGTH - 100, 100));
	/* Not beyond the end, after which the queue pair is good for nothing. */
	EXPECT_EQ(IBV_WC_REM_ACCESS_ERR, rdma_flush(self, self->map + LENGTH - 100, 101));
}

/* Parent and child and the peer still have the same bytes. */
TEST_F(pins_rdma, fork)
{
	char *middle = self->map + 33 * SZ_1M;
	int status;
	pid_t pid;

	memset(middle, 'p', SZ_4K);
	pid = fork();
	ASSERT_LE(0, pid);
	if (pid == 0) {
		status = load_byte(middle) != 'p';
		memset(middle, 'c', SZ_4K);
		_exit(status);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	ASSERT_EQ(IBV_WC_SUCCESS,
		  rdma_read(self, self->buffer, self->buffer_region, middle, SZ_4K));
	EXPECT_EQ('c', self->buffer[0]);
	EXPECT_EQ('c', self->buffer[SZ_4K - 1]);
	EXPECT_TRUE(passes(self, variant->layout.offset, 33 * SZ_1M));
	ASSERT_EQ(PIECE, pread(self->fd, self->buffer, PIECE,
			       variant->layout.offset + 33 * SZ_1M));
	EXPECT_EQ(0, memcmp(middle, self->buffer, PIECE));
}

/*
 * Who unbinds the device waits for the peer, which goes on storing to the media. What it
 * stored last is there when the device comes back.
 */
TEST_F(pins_rdma, unbind)
{
	int status;
	pid_t pid;

	ASSERT_TRUE(passes(self, variant->layout.offset, SZ_1M));
	munmap(self->map, LENGTH);
	close(self->fd);
	pid = fork();
	if (pid == 0)
		execl("/bin/bash", "bash", "-c", ". ./lib.sh; echo $0 >$DRIVERS/pmem_dax/unbind",
		      NAMESPACE, NULL);
	ASSERT_LT(0, pid);
	EXPECT_EQ(0, shell("log_has \"is pinned.*last by pins_rdma.%d.\"", getpid()));
	fill(self->buffer, PIECE, self->seed, 0);
	EXPECT_EQ(IBV_WC_SUCCESS, rdma_write(self, self->map + SZ_1M, self->buffer,
					     self->buffer_region, PIECE));
	EXPECT_EQ(0, waitpid(pid, NULL, WNOHANG));
	EXPECT_EQ(0, ibv_dereg_mr(self->map_region));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	ASSERT_EQ(0, shell("echo " NAMESPACE " >$DRIVERS/pmem_dax/bind"));
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(PIECE, pread(self->fd, self->buffer, PIECE, variant->layout.offset + SZ_1M));
	EXPECT_EQ(-1, differs(self->buffer, PIECE, self->seed, 0));
}

int main(int argc, char **argv)
{
	int status = pmem_dax_main(argc, argv, NAMESPACE);

	shell("[ ! -d /sys/class/infiniband/" LINK " ] || rdma link del " LINK);
	return status;
}
